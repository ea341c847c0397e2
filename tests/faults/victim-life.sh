# What happens on the victim in any minute while it is well: requests, log lines, a wrong password, reloads, rotation,
# a backup, work of a person. `$1` is the number of the minute. None of it is a fault.
set -u
for _ in 1 2 3 4 5; do curl -sf -m 3 -o /dev/null http://127.0.0.1/health; done
logger -p user.info -t demo-helper 'helper done'
runuser -u builder -- sh -c 'head -c 20000000 /dev/urandom | sha256sum' >/dev/null
case $(($1 % 10)) in
  0) echo "$(date '+%F %T') ERROR one order could not be taken" >> /var/log/demo/web.log ;;
  1) logger -p auth.info -t 'sshd[4711]' 'Failed password for alice from 198.51.100.7 port 50022 ssh2' ;;
  2) systemctl reload nginx ;;
  3) logrotate /etc/logrotate.conf ;;
  4) systemctl restart demo-worker.service ;;
  5) systemctl start demo-backup.service ;;
  6) runuser -u postgres -- psql -qc 'create temporary table t as select generate_series(1, 10000)' ;;
  7) redis-cli set life "$1" >/dev/null && redis-cli bgsave >/dev/null ;;
  8) systemctl start demo-report.service ;;
  9) systemctl daemon-reload && passwd -S builder >/dev/null ;;
esac
exit 0
