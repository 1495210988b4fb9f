#!/usr/bin/env bash
# Runs every fuzz target of the module, one after the other: tools/fuzz.sh [TIME EACH]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
time=${1:-60s}

# go test -list prints the targets of a package, then a line that names the package.
listed=$(go test -list '^Fuzz' ./...)
targets=$(awk '/^Fuzz/ { names[n++] = $1 }
	$1 == "ok" { for (i = 0; i < n; i++) print $2, names[i]; n = 0 }' <<<"$listed")
[[ -n $targets ]] || {
	echo "fuzz: no fuzz target was found" >&2
	exit 1
}
while read -r package target; do
	echo "$package $target"
	# Left alone, making an input smaller may take the whole time.
	go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 500x "$package" </dev/null
done <<<"$targets"
