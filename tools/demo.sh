#!/usr/bin/env bash
# make demo: a Redis that loses everything, and the jobs that come back. A lesson: each
# command is shown before it runs. It starts its own Redis and touches no other.
# shellcheck source=tools/demo-lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/demo-lib.sh"

begin

title "1. Redis, with real jobs in it"
why "A private Redis on a socket. It saves nothing: who kills it, kills its jobs."
start_redis
enqueue_jobs
why "Real workers do a part of them. (They log to worker.log.)"
run "$(worker --max-jobs 8 mails)"
run "$(worker --max-jobs 6 images)"
look

title "2. Backup"
why "Where Redis is, and where snapshots go. A flag or a variable, as you like."
run "export RQVAULT_REDIS=unix://$dir/redis.sock RQVAULT_STORE=$dir/vault"
run "rqvault backup"
run "rqvault snapshots"
why "Trust nothing that was not read back: every stored byte, and the dump walked again."
run "rqvault verify"
why "Nothing was lost so far, so there is nothing to restore."
run "rqvault diff"

title "3. The outage"
why "No warning, no time to save."
crash_redis
why "It comes back, and it is empty."
start_redis
look
why "The application does not wait for us: it goes on enqueueing."
run "$python app.py more"

title "4. What is lost?"
why "diff reads and changes nothing. Exit code 3 says: there is something to restore."
run -x 3 "rqvault diff"

title "5. Restore"
why "Each lost job goes back whole, to its place. What is live stays as it is."
run "rqvault restore --apply"
why "Restoring once more doubles nothing."
run "rqvault restore --apply"
run "rqvault diff"
look

title "6. Business as usual"
drain
prove_once
