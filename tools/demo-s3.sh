#!/usr/bin/env bash
# make demo-s3: backup, loss and restore with the snapshots in an S3 bucket. The S3 server
# is versitygw on a free port of this machine, its buckets are directories.
# shellcheck source=tools/demo-lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/demo-lib.sh"

versitygw=${RQVAULT_VERSITYGW:-$root/.bin/versitygw}

# start_s3 tries a few ports, since one that was free can be taken a moment later.
start_s3() {
	local try
	for ((try = 0; try < 5; try++)); do
		port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
		background "$versitygw --quiet --port 127.0.0.1:$port --access demo --secret demo-secret posix $dir/s3 >s3.log 2>&1"
		! await "$started" port_open || return 0
		wait "$started" || :
	done
	die "versitygw does not start: $(tail -n 3 s3.log)"
}

port_open() { (: <"/dev/tcp/127.0.0.1/$port"); }

begin

title "1. Redis with real jobs, and S3"
why "A private Redis on a socket, which saves nothing."
start_redis
enqueue_jobs
why "A real worker does a part of them."
run "$(worker --max-jobs 14 mails images)"
why "An S3 server of our own. It takes a directory for a bucket."
run "mkdir -p s3/backups"
start_s3

title "2. Backup into the bucket"
why "Credentials as every S3 program takes them; any S3 service will do."
run "export AWS_ACCESS_KEY_ID=demo AWS_SECRET_ACCESS_KEY=demo-secret AWS_REGION=us-east-1"
run "export AWS_ENDPOINT_URL_S3=http://127.0.0.1:$port AWS_EC2_METADATA_DISABLED=true"
run "export RQVAULT_REDIS=unix://$dir/redis.sock RQVAULT_STORE=s3://backups/production"
run "rqvault backup"
run "rqvault verify"
run "find s3/backups -type f"

title "3. The outage, and back"
crash_redis
start_redis
run -x 3 "rqvault diff"
run "rqvault restore --apply"
run "rqvault diff"

title "4. Business as usual"
drain
prove_once
