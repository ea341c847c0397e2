#!/bin/bash
# Installs what the project's own end-to-end tests break and mend, on a base host of the lab (run as root):
#   probe-web.service     answers GET /health on 127.0.0.1:8090; reads /etc/probe/web.conf at start
#   probe-worker.service  touches /var/lib/probe/heartbeat every second
#   probe-legacy.service  writes /run/probe/legacy.pid and refuses to start while that file exists
#   /var/log/probe        a file system of 16 MiB of its own, so that it can be filled
# The known-good copy of the configuration stands under /var/lib/probe-good.
set -eu

useradd --system --home-dir /var/lib/probe --create-home --shell /usr/sbin/nologin probe
install -d /opt/probe /etc/probe /var/log/probe /var/lib/probe-good/etc/probe

cat > /opt/probe/web.py <<'PY'
"""Answers /health while its configuration names a port and a greeting."""
import http.server
import sys

settings = {}
with open("/etc/probe/web.conf") as lines:
    for number, line in enumerate(lines, 1):
        key, found, value = line.strip().partition(" = ")
        if not found:
            sys.exit(f"web.conf line {number}: expected 'key = value'")
        settings[key] = value
log = open("/var/log/probe/web.log", "a", buffering=1)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path != "/health":
            return self.send_error(404)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(settings["greeting"].encode())

    def log_message(self, form, *values):
        log.write("INFO " + form % values + "\n")


http.server.ThreadingHTTPServer.allow_reuse_address = True
http.server.ThreadingHTTPServer(("127.0.0.1", int(settings["port"])), Handler).serve_forever()
PY

cat > /opt/probe/worker.py <<'PY'
"""Shows that it lives by touching a file."""
import pathlib
import time

while True:
    pathlib.Path("/var/lib/probe/heartbeat").touch()
    time.sleep(1)
PY

cat > /opt/probe/legacy.sh <<'SH'
#!/bin/sh
# A daemon of the old kind: one pid file, and no start while it exists.
file=/run/probe/legacy.pid
if [ -e "$file" ]; then
    echo "legacy: $file exists, is it running already?" >&2
    exit 1
fi
echo $$ > "$file"
trap 'rm -f "$file"; exit 0' TERM
while true; do
    sleep 1 &
    wait $!
done
SH
chmod 755 /opt/probe/legacy.sh

printf 'port = 8090\ngreeting = well\n' > /etc/probe/web.conf
cp -a /etc/probe/web.conf /var/lib/probe-good/etc/probe/web.conf
echo 'd /run/probe 0755 probe probe -' > /etc/tmpfiles.d/probe.conf
echo "tmpfs /var/log/probe tmpfs size=16m,mode=0755,uid=$(id -u probe),gid=$(id -g probe) 0 0" >> /etc/fstab

service() { # name, command
    cat > "/etc/systemd/system/$1.service" <<UNIT
[Unit]
Description=$1 of the lab fixture
[Service]
User=probe
ExecStart=$2
[Install]
WantedBy=multi-user.target
UNIT
    systemctl enable -q "$1.service"
}
service probe-web '/usr/bin/python3 /opt/probe/web.py'
service probe-worker '/usr/bin/python3 /opt/probe/worker.py'
service probe-legacy /opt/probe/legacy.sh
