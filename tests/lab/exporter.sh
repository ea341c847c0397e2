#!/bin/sh
# Installs Debian's node_exporter on a base host of the lab, with two collectors that are off by default.
set -eu
export DEBIAN_FRONTEND=noninteractive
dpkg --unpack /root/packages/*.deb
dpkg --configure -a
rm -rf /root/packages
echo 'ARGS="--collector.tcpstat --collector.processes"' > /etc/default/prometheus-node-exporter
