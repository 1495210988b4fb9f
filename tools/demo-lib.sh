# shellcheck shell=bash
# What demo.sh and demo-s3.sh share: telling, running, and the life of the servers.
# Sourced, by bash. A demo starts with `begin`, and has succeeded after `prove_once`.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${RQVAULT_PYTHON:-/usr/bin/python3}
redis_server=${RQVAULT_REDIS_SERVER:-redis-server}
dir=     # everything lives here, and goes with it
started= # pid of what `background` started last
enqueued_at=0 # in seconds since the demo began
redis=   # pid of the Redis that runs now

command_colour='' title_colour='' good_colour='' bad_colour='' plain=''
if [[ -t 1 && -z ${NO_COLOR:-} ]]; then
	command_colour=$'\e[1;36m' title_colour=$'\e[1m' good_colour=$'\e[1;32m' bad_colour=$'\e[1;31m' plain=$'\e[0m'
fi

# Telling.

title() { printf '\n%s== %s%s\n' "$title_colour" "$*" "$plain"; }
why() { printf '\n# %s\n' "$*"; }
show() { printf '%s$ %s%s\n' "$command_colour" "$*" "$plain"; }
good() { printf '\n%s%s%s\n' "$good_colour" "$*" "$plain"; }

die() {
	printf '\n%sdemo failed: %s%s\n' "$bad_colour" "$*" "$plain" >&2
	exit 1
}

# run [-x CODE] COMMAND: shows the command, then runs just that. It must end with CODE,
# which is 0 where none is named.
run() {
	local want=0 got=0
	if [[ $1 == -x ]]; then
		want=$2
		shift 2
	fi
	show "$1"
	eval "$1" || got=$?
	((got == want)) || die "exit code $got, not $want, from: $1"
}

# background COMMAND: the same, but it goes on running. Its pid is in $started.
background() {
	show "$1 &"
	eval "exec $1" &
	started=$!
}

# finish PID...: waits until these are done with their work.
finish() {
	local pid
	show wait
	for pid in "$@"; do
		wait "$pid" || die "a worker ended with exit code $?: $(tail -n 5 "$dir/worker.log")"
	done
}

# clean_up ends what the demo started and is still running, which the shell knows by pid,
# and removes the directory.
clean_up() {
	local code=$? pid
	trap - EXIT
	trap '' INT TERM HUP
	for pid in $(jobs -pr); do
		kill "$pid" 2>/dev/null || :
		wait "$pid" 2>/dev/null || :
	done
	cd /
	[[ -z $dir ]] || rm -rf "$dir"
	exit "$code"
}

# The scene.

# begin makes the directory and enters it. It forgets what is set for any other Redis,
# store or cloud account: the demo knows only its own.
begin() {
	local name
	[[ -x $root/bin/rqvault ]] || die "bin/rqvault is missing: run make demo, which builds it"
	for name in "${!RQVAULT_@}" "${!RQ_@}" "${!AWS_@}" "${!VGW_@}" REDISCLI_AUTH; do
		unset "$name"
	done
	trap clean_up EXIT
	trap 'exit 129' HUP
	trap 'exit 130' INT
	trap 'exit 143' TERM
	dir=$(mktemp -d "${TMPDIR:-/tmp}/rqvault-demo.XXXXXX")
	if ((${#dir} > 90)); then # the path of a unix socket has 107 bytes at most
		rmdir "$dir"
		dir=$(mktemp -d /tmp/rqvault-demo.XXXXXX)
	fi
	why "Everything happens in a new directory, which is removed at the end."
	run "cd $dir"
	run "export PATH=$root/bin:\$PATH"
}

# start_redis starts a Redis that only this directory knows, and waits for its answer.
start_redis() {
	run "mkdir redis"
	background "$redis_server --port 0 --unixsocket $dir/redis.sock --save '' --dir redis --logfile redis.log"
	redis=$started
	await "$redis" redis-cli -s redis.sock ping ||
		die "redis-server does not start: $(cat redis.log redis/redis.log 2>/dev/null | tail -n 3)"
	run "redis-cli -s redis.sock dbsize"
}

# await PID COMMAND...: until the command succeeds, while the process lives, for 20 seconds
# at most.
await() {
	local pid=$1 try
	shift
	for ((try = 0; try < 200; try++)); do
		kill -0 "$pid" 2>/dev/null || return 1
		! "$@" >/dev/null 2>&1 || return 0
		sleep 0.1
	done
	return 1
}

# crash_redis kills our Redis, and nobody else's, in the way that leaves no time to save.
crash_redis() {
	run "kill -9 $redis"
	wait "$redis" 2>/dev/null || :
	why "Its disk is lost with it."
	run "rm -r redis redis.sock"
}

enqueue_jobs() {
	why "An application and its jobs: plain RQ, nothing of rqvault in it."
	run "cp $root/tools/demo/app.py $root/tools/demo/jobs.py ."
	run "cat jobs.py"
	why "20 mails, 13 images of which one fails, 3 reports that wait for their figures, and a reminder due in 20 seconds."
	run "export RQ_REDIS_URL=unix://$dir/redis.sock"
	run "$python app.py start"
	enqueued_at=$SECONDS
}

# worker OPTIONS: the command of one real worker that leaves when there is no more to do.
worker() { printf '%s' "$python -m rq.cli worker --burst $* >>worker.log 2>&1"; }

# look shows the queues as RQ itself sees them.
look() { run "$python -m rq.cli info --only-queues"; }

# drain lets real workers do all that is queued, and what is scheduled too.
drain() {
	local one due
	why "Two real workers at the same time take up the queues where they stopped."
	background "$(worker mails)"
	one=$started
	background "$(worker images reports)"
	finish "$one" "$started"
	due=$((21 - SECONDS + enqueued_at))
	if ((due > 0)); then
		why "The reminder is not due yet, and RQ keeps its hour across the outage too."
		run "sleep $due"
	fi
	why "A worker with RQ's scheduler brings it in when its time has come."
	run "$(worker --with-scheduler mails)"
}

# prove_once compares what was enqueued with what ran, line by line: a job that is missing
# and a job that ran twice both show.
prove_once() {
	why "Every job that was ever enqueued is in enqueued.log, every run of a job in ran.log."
	run "wc -l enqueued.log ran.log"
	why "Sorted, the two are the same: no job is missing, and none ran twice."
	run "sort enqueued.log > enqueued.sorted; sort ran.log | diff enqueued.sorted - && echo the same"
	why "And within a queue the order was kept."
	run "grep ^mail- ran.log | sort --check && echo in order"
	good "$(wc -l <enqueued.log) jobs, and each ran exactly once."
}
