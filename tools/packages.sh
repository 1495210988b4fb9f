#!/usr/bin/env bash
# tools/packages.sh DIST VERSION ARCH...: builds rqvault for each machine and packs it as
# deb and rpm into DIST. VERSION is a release's number such as 1.2.3; empty, it is made
# from the commit. The same commit gives the same bytes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

dist=$1 version=$2
shift 2
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || echo 0)
export SOURCE_DATE_EPOCH
[[ -n $version ]] ||
	version=0.0.0-git$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y%m%d).$(git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)

# build ARCH: $dist/rqvault-ARCH, unless it was built a moment ago.
built=()
build() {
	[[ " ${built[*]} " != *" $1 "* ]] || return 0
	CGO_ENABLED=0 GOOS=linux GOARCH=$1 \
		go build -trimpath -ldflags "-s -w -X rqvault/internal/command.linked=v$version" -o "$dist/rqvault-$1" .
	built+=("$1")
}

# What the program prints of itself is the same for every machine. Archives take it, too.
share=$dist/share
mkdir -p "$share"
host=$(go env GOHOSTARCH)
build "$host"
"$dist/rqvault-$host" man | gzip -9n >"$share/rqvault.1.gz"
for shell in bash zsh fish; do
	"$dist/rqvault-$host" completion "$shell" >"$share/rqvault.$shell"
done

for arch in "$@"; do
	build "$arch"
	for kind in deb rpm; do
		ARCH=$arch VERSION=$version PROGRAM=$dist/rqvault-$arch SHARE=$share \
			.bin/nfpm package --config deploy/nfpm/nfpm.yaml --packager "$kind" --target "$dist"
	done
done
rm "${built[@]/#/$dist/rqvault-}"
