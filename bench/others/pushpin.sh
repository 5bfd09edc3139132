#!/usr/bin/env bash
# Pushpin (https://pushpin.org), Debian's package, in front of a Node origin that answers with the current state and
# leaves the connection to Pushpin (GRIP). Publishers post to CONTROL_PORT.
set -euo pipefail
cd "$(dirname "$0")"
command -v pushpin >/dev/null || { echo "Pushpin is missing: apt-get install pushpin" >&2; exit 1; }
state=$(mktemp -d)
cat >"$state/pushpin.conf" <<CONF
[global]
include=/usr/lib/pushpin/internal.conf
rundir=$state
ipc_prefix=bench-
[runner]
services=condure,zurl,pushpin-proxy,pushpin-handler
http_port=127.0.0.1:$PORT
logdir=$state
log_level=1
client_buffer_size=8192
client_maxconn=8000
[proxy]
routesfile=$state/routes
zurl_out_specs=ipc://$state/bench-zurl-in
zurl_out_stream_specs=ipc://$state/bench-zurl-in-stream
zurl_in_specs=ipc://$state/bench-zurl-out
[handler]
push_in_spec=ipc://$state/push
push_in_sub_specs=ipc://$state/sub
push_in_http_addr=127.0.0.1
push_in_http_port=$CONTROL_PORT
command_spec=ipc://$state/command
CONF
echo "* 127.0.0.1:$ORIGIN_PORT" >"$state/routes"
PORT=$ORIGIN_PORT node pushpin-origin.mjs >/dev/null &
node=$!
pushpin --config "$state/pushpin.conf" >"$state/out" 2>&1 &
server=$!
trap 'kill $server $node 2>/dev/null || true; wait $server 2>/dev/null || true; rm -rf "$state"' EXIT
trap 'exit 0' TERM INT
for port in "$PORT" "$CONTROL_PORT" "$ORIGIN_PORT"; do
    until (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
        kill -0 $server && kill -0 $node || { cat "$state"/*.log "$state/out" >&2; exit 1; }
        sleep 0.05
    done
done
echo ready
wait $server
