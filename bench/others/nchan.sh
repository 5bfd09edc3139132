#!/usr/bin/env bash
# nchan (https://nchan.io) from Debian's packages, unpacked into a folder of its own: nothing is installed. Its publishers
# post to /pub/ID; messages are kept in nginx's memory, the newest is a viewer's first event.
set -euo pipefail
cd "$(dirname "$0")"
root=$PWD/.nchan
if [ ! -x "$root/usr/sbin/nginx" ]; then
    command -v apt-get >/dev/null || { echo "nchan comes from Debian's packages: there is no apt-get here" >&2; exit 1; }
    mkdir -p "$root"
    (cd "$root" && apt-get download -q nginx libnginx-mod-nchan >&2 && for package in *.deb; do dpkg -x "$package" .; done)
fi
state=$(mktemp -d)
trap 'rm -rf "$state"' EXIT
cat >"$state/nginx.conf" <<CONF
load_module $root/usr/lib/nginx/modules/ngx_nchan_module.so;
daemon off;
user root;
worker_processes auto;
worker_rlimit_nofile 16384;
pid $state/pid;
error_log $state/error.log;
events { worker_connections 8192; }
http {
    access_log off;
    tcp_nodelay on;
    client_body_temp_path $state/body;
    proxy_temp_path $state/proxy;
    fastcgi_temp_path $state/fastcgi;
    uwsgi_temp_path $state/uwsgi;
    scgi_temp_path $state/scgi;
    nchan_shared_memory_size 256m;
    server {
        listen 127.0.0.1:$PORT;
        location ~ ^/pub/(.+)$ { nchan_publisher; nchan_channel_id \$1; nchan_message_buffer_length 10; }
        location ~ ^/events/(.+)$ {
            nchan_subscriber eventsource;
            nchan_channel_id \$1;
            nchan_subscriber_first_message -1;
        }
    }
}
CONF
# With nchan loaded, this nginx insists on folders below /var/lib/nginx: it gets a /var/lib of its own.
unshare --map-root-user --mount bash -c 'mount -t tmpfs none /var/lib && mkdir /var/lib/nginx && exec "$0" "$@"' \
    "$root/usr/sbin/nginx" -e "$state/error.log" -p "$state" -c "$state/nginx.conf" &
server=$!
trap 'pkill -KILL -P $server || true; kill -KILL $server || true; rm -rf "$state"' EXIT
trap 'exit 0' TERM INT
until (exec 3<>"/dev/tcp/127.0.0.1/$PORT") 2>/dev/null; do
    kill -0 $server || { cat "$state/error.log" >&2; exit 1; }
    sleep 0.05
done
echo ready
wait $server
