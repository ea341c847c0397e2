# What the operator of the victim does before he calls the host well and lets an agent watch it: its first backup is
# made, and what an agent cannot know is declared. Run on every victim after it has booted; on other hosts it does nothing.
if systemctl cat demo-backup.service >/dev/null 2>&1; then
  systemctl start demo-backup.service
fi
# Debian's cron says how jobs end only when it is told to.
if [ -x /usr/sbin/cron ]; then
  echo "EXTRA_OPTS='-L 5'" >> /etc/default/cron; systemctl try-restart cron.service
fi
# Who is a person and who is not, nobody can see from outside.
if id builder >/dev/null 2>&1; then
  mkdir -p /etc/sopwith/host.d
  echo '- {kind: account, name: builder, human: false}' > /etc/sopwith/host.d/service-accounts.yaml
fi
