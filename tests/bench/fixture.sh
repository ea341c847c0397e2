#!/bin/sh
# Turns a fresh host into the one that benchmarks run on: small services, a log, and the peers from Debian's packages
# as they install themselves. Whoever is measured is started for his turn and stopped after it.
set -eu
dpkg --unpack /root/packages/*.deb
# No peer starts by itself, now or at boot.
printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
DEBIAN_FRONTEND=noninteractive dpkg --configure -a
rm -rf /usr/sbin/policy-rc.d /root/packages
systemctl disable --now monit.service fail2ban.service prometheus-node-exporter.service

cat > /etc/systemd/system/bench-prepare.service <<'UNIT'
[Unit]
Description=Folders of the benchmarks
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/mkdir -p /run/bench/marks
ExecStart=/bin/touch /var/log/bench.log
UNIT
number=1
while [ $number -le 99 ]; do
    name=$(printf 'bench-%02d' $number)
    cat > /etc/systemd/system/$name.service <<UNIT
[Unit]
Description=Small service $number of the benchmarks
Requires=bench-prepare.service
After=bench-prepare.service
[Service]
ExecStart=/bin/sh -c 'echo \$\$\$\$ > /run/bench/$name.pid; exec sleep infinity'
Restart=no
UNIT
    number=$((number + 1))
done

# What a match in the log does, for whoever answers it.
mkdir -p /usr/local/lib/bench
printf '#!/bin/sh\n: > "/run/bench/marks/$1"\n' > /usr/local/lib/bench/mark
printf '#!/bin/sh\nrm -f "/run/bench/marks/$1"\n' > /usr/local/lib/bench/unmark
printf '#!/bin/sh\n[ -e "/run/bench/marks/$1" ]\n' > /usr/local/lib/bench/marked
chmod 755 /usr/local/lib/bench/*
