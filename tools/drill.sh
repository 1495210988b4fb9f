#!/usr/bin/env bash
# make drill: ten minutes of training for whoever is on call. An outage is staged on a
# private Redis, and gone through as docs/runbook.md says; between the steps it waits for
# Enter on a terminal, so that one can say first what one would type.
# shellcheck source=tools/demo-lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/demo-lib.sh"

# ask waits for a person, if there is one.
ask() {
	why "$*"
	if [[ -t 0 && -t 1 ]]; then
		read -r -p "Enter to go on … " _ || :
	fi
}

begin

title "0. A system at work, with the daemon beside it"
start_redis
enqueue_jobs
run "$(worker --max-jobs 8 mails)"
why "One file says what is kept safe, where, and when."
cat >rqvault.yml <<CONFIG
stores: {main: {url: $dir/vault}}
sources:
  main:
    redis: unix://$dir/redis.sock
    schedule: {backup: "@every 3s", verify: "@every 6s", diff: "@every 3s", fsck: "@every 5s"}
daemon: {listen: ""}
CONFIG
run "cat rqvault.yml"
run "export RQVAULT_CONFIG=$dir/rqvault.yml"
run "rqvault config check"
background "rqvault schedule 2>daemon.log"
daemon=$started
await "$daemon" grep -q "msg=done .*task=verify" daemon.log || die "the daemon does not start: $(tail -n 3 daemon.log)"
run "rqvault snapshots | tail -n 3"
ask "The night is calm. Then …"

title "1. Detection"
crash_redis
why "The phone rings: redis-down. The first command of an incident:"
run -x 3 "rqvault doctor"
ask "What does the first line say, and what comes first?"

title "2. Restart"
start_redis
why "It runs again. Nobody restores anything before this has been asked:"
run -x 3 "rqvault doctor"

title "3. Assessment"
why "What is lost? This changes nothing. The daemon has taken snapshots of the empty Redis by now; diff knows."
await "$daemon" grep -q "data was lost" daemon.log || die "the daemon noticed nothing: $(tail -n 3 daemon.log)"
run -x 3 "rqvault diff"
before=$(ls vault/main/freezes | head -n 1)
why "The last snapshot from before the outage is the one to restore from."
run -x 3 "rqvault diff $before --out plan.json"
ask "Which jobs come back, which do not, and which are yours to decide?"
run "rqvault show plan.json"

title "4. Restore, a little at a time"
run "rqvault restore --plan plan.json --apply --resume-rate 20"

title "5. Is all of it right?"
run "rqvault diff $before"
run "rqvault verify --live"
look

title "6. After-care"
drain
why "The freeze that kept the good snapshots is lifted by a person."
run "rqvault thaw --reason 'restored' $before"
run "rqvault backup"
run "rqvault drill"
prove_once
kill "$daemon"
wait "$daemon" || :
good "The same steps, for real: docs/runbook.md"
