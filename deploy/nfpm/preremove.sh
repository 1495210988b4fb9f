#!/bin/sh
# Ends the services when the package goes (deb: remove; rpm: 0 packages left), not when
# it is replaced by another version.
set -e

case ${1:-} in
remove | 0)
	if [ -d /run/systemd/system ]; then
		systemctl --no-reload disable --now rqvault.service rqvault-backup.timer rqvault-verify.timer || :
	fi
	;;
esac
