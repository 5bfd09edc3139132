#!/usr/bin/env bash
# Within `runcast run`: says in the job's summary where to watch, and becomes the command.
page=$RUNCAST_URL/#/runs/$RUNCAST_RUN_ID
{ echo "[Watch this run in Runcast]($page)" && echo; } >>"$GITHUB_STEP_SUMMARY" || true
printf '%s\n' "run-id=$RUNCAST_RUN_ID" "page=$page" >>"$GITHUB_OUTPUT" || true
exec "$@"
