#!/usr/bin/env bash
# Runs the command under `runcast run`. Whatever becomes of that, the command runs, and this exits as it did.
set -euo pipefail
here=$GITHUB_ACTION_PATH
command=(bash -eo pipefail -c "$INPUT_COMMAND")

if [[ -z $RUNCAST_TOKEN && -n $RUNCAST_SIGNING_KEY ]]; then
    RUNCAST_TOKEN=$(ORGANIZATION=$INPUT_ORGANIZATION ISSUER=$INPUT_ISSUER AUDIENCE=$INPUT_AUDIENCE \
        node "$here/token.mjs") || RUNCAST_TOKEN=
    [[ -z $RUNCAST_TOKEN ]] || echo "::add-mask::$RUNCAST_TOKEN"
fi
# The command has no business with it.
unset RUNCAST_SIGNING_KEY

unwatched() {
    echo "::notice title=Runcast::$1: the command runs unwatched"
    unset RUNCAST_TOKEN RUNCAST_URL
    exec "${command[@]}"
}
# As in a pull request from a fork, which is given no secrets.
[[ -n $RUNCAST_TOKEN ]] || unwatched "there is no token"
[[ -x $(command -v "$RUNCAST") ]] || unwatched "runcast could not be built"

options=()
[[ -z $INPUT_NAME ]] || options+=(--name "$INPUT_NAME")
[[ -z $INPUT_RUN ]] || options+=(--run "$INPUT_RUN")
[[ -z $INPUT_SHARD ]] || options+=(--shard "$INPUT_SHARD")
[[ -z $INPUT_RESULTS ]] || options+=(--junit "$INPUT_RESULTS")
export RUNCAST_TOKEN
# Empty is no project.
[[ -n $RUNCAST_PROJECT ]] || unset RUNCAST_PROJECT
[[ -z $INPUT_SHARD ]] || export RUNCAST_SHARD=$INPUT_SHARD
exec "$RUNCAST" run ${options[@]+"${options[@]}"} -- "$here/tell.sh" "${command[@]}"
