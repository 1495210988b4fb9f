# Runs inside a clean Debian, as its root, in process and mount namespaces of its own:
# installs /rqvault.deb, lives with it, and takes it off again. $1 is the version.
set -euo pipefail
trap 'echo "installed.sh: line $LINENO: failed" >&2' ERR

version=$1
mount -t proc proc /proc
umask 022 # whatever the caller has
export DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin

# is WANT COMMAND...
is() {
	local want=$1 got
	shift
	got=$("$@" 2>&1) || :
	[[ $got == "$want" ]] || {
		echo "$*: got '$got', want '$want'" >&2
		return 1
	}
}

echo "== it installs, and starts nothing"
dpkg -i /rqvault.deb
dpkg --audit
dpkg --verify rqvault
is "${version#v}" sh -c "dpkg-query -W -f '\${Version}' rqvault | tr '~' -"
rqvault version | grep -F "rqvault $version ("
for unit in rqvault.service rqvault-backup.timer rqvault-verify.timer; do
	is disabled systemctl is-enabled "$unit"
done
is "" sh -c 'readlink /proc/[0-9]*/exe | grep rqvault'

echo "== it has a user without a shell, and nobody else reads its secrets"
is "/var/lib/rqvault /usr/sbin/nologin" sh -c "getent passwd rqvault | cut -d: -f6,7 | tr : ' '"
is "750 rqvault:rqvault" stat -c '%a %U:%G' /var/lib/rqvault
is "750 root:rqvault" stat -c '%a %U:%G' /etc/rqvault
is "640 root:rqvault" stat -c '%a %U:%G' /etc/rqvault/rqvault.yml
is "600 root:root" stat -c '%a %U:%G' /etc/rqvault/rqvault.env
zcat /usr/share/man/man1/rqvault.1.gz | grep -qF '.TH RQVAULT 1'
bash -ec '. /usr/share/bash-completion/completions/rqvault; complete -p rqvault'

echo "== systemd has no complaint"
systemd-analyze verify --man=no /usr/lib/systemd/system/rqvault*.{service,timer} 2>&1 | tee /tmp/verify
[[ ! -s /tmp/verify ]]
for unit in rqvault rqvault-backup rqvault-verify; do
	systemd-analyze security --offline=true --no-pager --threshold=20 "$unit.service" >/tmp/security || {
		cat /tmp/security
		exit 1
	}
	grep Overall /tmp/security
done

echo "== a backup of a real Redis, as its service would take it"
install -d -o redis -g redis -m 750 /run/redis /var/lib/redis
runuser -u redis -- redis-server --daemonize yes --port 0 --unixsocket /run/redis/s --unixsocketperm 770 \
	--dir /var/lib/redis --save '' --logfile /var/lib/redis/log
until redis-cli -s /run/redis/s ping 2>/dev/null | grep -q PONG; do read -rt 0.1 <> <(:) || :; done
redis-cli -s /run/redis/s sadd rq:queues rq:queue:mail
for i in 1 2 3; do
	redis-cli -s /run/redis/s hset rq:job:j$i status queued origin mail created_at 2026-11-23T06:00:00.000000Z data x
	redis-cli -s /run/redis/s rpush rq:queue:mail j$i
done >/dev/null
usermod -aG redis rqvault # as docs/install.md says, so that it reads the dump and the socket
sed -i 's#^    redis: .*#    redis: unix:///run/redis/s#; s@^    # via: auto@    via: bgsave@' /etc/rqvault/rqvault.yml
echo 'RQVAULT_SOURCES_MAIN_POLICY=at-most-once' >>/etc/rqvault/rqvault.env

# service UNIT: what the unit runs, with its user, directories and variables.
service() {
	local unit=/usr/lib/systemd/system/$1 line
	local variables
	mapfile -t variables < <(sed -n 's/^Environment=//p' "$unit" | tr ' ' '\n'; grep -v '^#' /etc/rqvault/rqvault.env)
	install -d -o rqvault -g rqvault -m 700 /var/cache/rqvault
	read -ra line < <(sed -n 's/^ExecStart=//p' "$unit")
	(cd /var/lib/rqvault && umask 077 && runuser -u rqvault -- env "${variables[@]}" "${line[@]}")
}
service rqvault-backup.service
service rqvault-verify.service
runuser -u rqvault -- rqvault snapshots --json | tee /tmp/snapshots
grep -q '"jobs": 3' /tmp/snapshots
grep -q '"via": "bgsave"' /tmp/snapshots
! runuser -u nobody -- ls /var/lib/rqvault 2>/dev/null
runuser -u rqvault -- rqvault __complete -- show 2 | grep "$(date -u +%Y)"

echo "== an update keeps what an administrator wrote"
echo '# mine' >>/etc/rqvault/rqvault.yml
dpkg -i --force-confold /rqvault.deb
tail -n 1 /etc/rqvault/rqvault.yml | grep -qx '# mine'
grep -q '^RQVAULT_SOURCES' /etc/rqvault/rqvault.env
is "640 root:rqvault" stat -c '%a %U:%G' /etc/rqvault/rqvault.yml

echo "== it goes, but never with the snapshots"
dpkg -r rqvault
[[ ! -e /usr/bin/rqvault && -e /etc/rqvault/rqvault.yml ]]
dpkg -P rqvault
[[ ! -e /etc/rqvault && ! -e /var/cache/rqvault ]]
[[ -d $(echo /var/lib/rqvault/main/snapshots/*) ]]
echo "== done"
