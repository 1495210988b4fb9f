#!/bin/sh
# Makes the user and its directories. Nothing is enabled, and nothing started that did not
# run before.
set -e

case ${1:-} in
abort-*) exit 0 ;;
esac
systemd-sysusers rqvault.conf
systemd-tmpfiles --create rqvault.conf
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
	systemctl try-restart rqvault.service
fi
