#!/usr/bin/env bash
# Installs what is missing for one purpose, and nothing else:
#
#   tools/setup.sh build     Go is asked for, never installed
#   tools/setup.sh demo      redis-server and Python's RQ
#   tools/setup.sh demo-s3   these, and an S3 server
#   tools/setup.sh ledger    redis-server, Python's RQ and zstd
#   tools/setup.sh test      all of these, age, openssl, ssh-keygen, pgrep, chromium, a C compiler
#                            for the race detector, staticcheck, prometheus, zsh, fish, mandoc
#   tools/setup.sh packages  nfpm, which makes the deb and the rpm
#   tools/setup.sh test-packages  this, rpm, debootstrap, and a clean Debian made by it
#
# Debian packages come by apt, as root or with sudo; Go programs are built into .bin/ in
# the versions that tools/go.mod and tools/packaging/go.mod pin. Where a program lies somewhere
# else, say so with RQVAULT_REDIS_SERVER, RQVAULT_PYTHON (a python3 that has rq),
# RQVAULT_VERSITYGW, RQVAULT_CHROMIUM, RQVAULT_PROMETHEUS and RQVAULT_PROMTOOL.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=${RQVAULT_PYTHON:-/usr/bin/python3}
packages=()

say() { printf 'setup: %s\n' "$*"; }

fail() {
	printf 'setup: %s\n' "$*" >&2
	exit 1
}

# need PACKAGE COMMAND...: the package is wanted if the command does not succeed.
need() {
	local package=$1
	shift
	"$@" >/dev/null 2>&1 || packages+=("$package")
}

need_go() {
	local why
	command -v go >/dev/null ||
		fail "Go is missing: install it from https://go.dev/doc/install, then run the same command again"
	why=$(go list -m 2>&1) ||
		fail "this Go cannot build rqvault, go.mod asks for $(sed -n 's/^go //p' go.mod): ${why//$'\n'/; }"
}

need_servers() {
	need redis-server command -v "${RQVAULT_REDIS_SERVER:-redis-server}"
	need redis-tools command -v redis-cli
	need python3-rq "$python" -c 'import rq'
}

need_test() {
	need_servers
	need zstd command -v zstd
	need age command -v age
	need openssl command -v openssl
	need openssh-client command -v ssh-keygen
	need procps command -v pgrep
	need chromium command -v "${RQVAULT_CHROMIUM:-chromium}"
	need gcc command -v gcc
	need libc6-dev test -e /usr/include/stdlib.h
	need zsh command -v zsh
	need fish command -v fish
	need mandoc command -v mandoc
}

# as_root COMMAND...: runs it as root, asking for a password only on a terminal.
as_root() {
	if [[ $(id -u) == 0 ]]; then
		"$@"
	elif [[ -t 0 ]]; then
		sudo "$@"
	else
		sudo -n "$@"
	fi
}

can_install() {
	command -v apt-get >/dev/null || return 1
	[[ $(id -u) == 0 ]] && return
	command -v sudo >/dev/null && { [[ -t 0 ]] || sudo -n true 2>/dev/null; }
}

# install_packages leaves the services of this machine alone. A package of Debian's starts
# its service when it is installed; here the two programs by which it does so are replaced,
# for this one run of apt, by one that does nothing.
install_packages() {
	((${#packages[@]})) || return 0
	can_install || fail "please install by hand, then run the same command again: ${packages[*]}"
	say "installing ${packages[*]}"
	local idle=$PWD/.bin/idle path=/usr/sbin:/usr/bin:/sbin:/bin
	mkdir -p "$idle"
	printf '#!/bin/sh\nexit 0\n' >"$idle/invoke-rc.d"
	cp "$idle/invoke-rc.d" "$idle/deb-systemd-invoke"
	chmod +x "$idle"/*
	as_root apt-get -qq update || say "apt-get update failed; trying with the package lists at hand"
	as_root env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 \
		apt-get -qq -y -o "DPkg::Path=$idle:$path" -o Dpkg::Use-Pty=0 --no-install-recommends \
		install "${packages[@]}" >.bin/apt.log 2>&1 </dev/null ||
		fail "apt-get could not install ${packages[*]}: $(tail -n 3 .bin/apt.log)"
	rm -r "$idle"
	[[ " ${packages[*]} " != *" redis-server "* ]] || keep_off_boot
}

# keep_off_boot makes sure that the Redis which came for the tests does not start with the
# machine, as Debian's would.
keep_off_boot() {
	as_root update-rc.d redis-server disable >>.bin/apt.log 2>&1 || :
	say "redis-server's own service was not started, and will not start at boot"
}

# go_tool NAME PACKAGE [MODULE]: builds a program that tools/go.mod, or another module's,
# pins into .bin/, unless it is there. It is renamed into place, since tests may build the
# same one at the same time.
go_tool() {
	local name=$1 package=$2 module=${3:-tools}
	[[ -x .bin/$name && ! $module/go.mod -nt .bin/$name ]] && return
	say "building $name (once, may take minutes)"
	mkdir -p .bin
	go build -C "$module" -o "$PWD/.bin/$name.$$" "$package" || fail "$name could not be built"
	mv ".bin/$name.$$" ".bin/$name"
}

need_s3() {
	[[ -n ${RQVAULT_VERSITYGW:-} ]] || go_tool versitygw github.com/versity/versitygw/cmd/versitygw
}

# need_prometheus unpacks Debian's prometheus into .bin/ instead of installing it: the tests
# want two programs of it, and nobody wants its service.
need_prometheus() {
	[[ -n ${RQVAULT_PROMETHEUS:-} && -n ${RQVAULT_PROMTOOL:-} ]] && return
	command -v prometheus >/dev/null && command -v promtool >/dev/null && return
	[[ -x .bin/prometheus && -x .bin/promtool ]] && return
	command -v apt-get >/dev/null ||
		fail "please get Prometheus from https://prometheus.io/download, and name its programs by RQVAULT_PROMETHEUS and RQVAULT_PROMTOOL"
	say "fetching prometheus into .bin/ (it is not installed)"
	local temp=.bin/prometheus.$$
	mkdir -p "$temp"
	download prometheus "$temp" || { as_root apt-get -qq update && download prometheus "$temp"; } ||
		fail "apt-get could not fetch prometheus: $(tail -n 3 .bin/apt.log)"
	dpkg-deb -x "$temp"/prometheus_*.deb "$temp" || fail "the package of prometheus could not be unpacked"
	mv "$temp/usr/bin/prometheus" "$temp/usr/bin/promtool" .bin/
	rm -r "$temp"
}

# download PACKAGE DIRECTORY: gets a package's file, which needs no rights.
download() { (cd "$2" && apt-get -qq download "$1") >.bin/apt.log 2>&1; }

need_nfpm() { go_tool nfpm github.com/goreleaser/nfpm/v2/cmd/nfpm tools/packaging; }

# need_debian makes a clean Debian for tests to unpack: what a server has, systemd and
# Redis, and nothing else. It lies there as one file: what is in it belongs to root.
need_debian() {
	local release=bookworm root
	[[ -s .bin/$release.tar ]] && return
	say "making a clean Debian $release (once, takes minutes)"
	root=$(as_root mktemp -d /tmp/rqvault-debian-XXXXXX)
	as_root chmod 755 "$root" # it becomes a /, which others than root must enter
	as_root debootstrap --variant=minbase --include=systemd,redis-server "$release" "$root" ${RQVAULT_DEBIAN_MIRROR:+"$RQVAULT_DEBIAN_MIRROR"} >.bin/debootstrap.log 2>&1 </dev/null || {
		as_root rm -rf --one-file-system "$root"
		fail "debootstrap failed: $(tail -n 3 .bin/debootstrap.log)"
	}
	as_root tar -C "$root" --exclude './var/cache/apt/*' --exclude './var/lib/apt/lists/*' --one-file-system -c . >".bin/$release.tar.part"
	as_root rm -rf --one-file-system "$root"
	mv ".bin/$release.tar.part" ".bin/$release.tar"
}

# prove says which program is missing even now, in words of what to do.
prove() {
	local what=$1
	shift
	"$@" >/dev/null 2>&1 || fail "$what"
}

prove_servers() {
	prove "${RQVAULT_REDIS_SERVER:-redis-server} does not run" "${RQVAULT_REDIS_SERVER:-redis-server}" --version
	prove "redis-cli does not run" redis-cli --version
	prove "$python has no rq: install python3-rq, or set RQVAULT_PYTHON to a python3 that has it" "$python" -c 'import rq'
}

case ${1:-} in
build)
	need_go
	;;
ledger)
	need_go
	need_servers
	need zstd command -v zstd
	install_packages
	prove_servers
	;;
demo | demo-s3)
	need_go
	need_servers
	install_packages
	prove_servers
	[[ $1 == demo ]] || need_s3
	;;
test)
	need_go
	need_test
	install_packages
	prove_servers
	prove "chromium does not run: install it, or set RQVAULT_CHROMIUM to a Chromium that does" "${RQVAULT_CHROMIUM:-chromium}" --version
	need_s3
	need_prometheus
	go_tool staticcheck honnef.co/go/tools/cmd/staticcheck
	;;
packages)
	need_go
	need_nfpm
	;;
test-packages)
	need_go
	need debootstrap test -x /usr/sbin/debootstrap
	need rpm command -v rpm
	install_packages
	need_nfpm
	go_tool staticcheck honnef.co/go/tools/cmd/staticcheck
	need_debian
	;;
*)
	fail "usage: tools/setup.sh build|demo|demo-s3|ledger|test|packages|test-packages"
	;;
esac
