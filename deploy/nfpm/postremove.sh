#!/bin/sh
# /var/lib/rqvault stays, even when the package is purged: it may hold the only snapshots.
set -e

if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
fi
if [ "${1:-}" = purge ]; then
	rm -rf /var/cache/rqvault
fi
