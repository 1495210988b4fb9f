package command

// What the manual page says beside the commands and their flags.

var description = []string{
	"rqvault takes snapshots of Redis, knows the jobs of python-rq (RQ) in them, says after an outage what became of every single one, and puts exactly the lost ones back: whole, in their place, never over newer data, never a finished one to run again.",
	"SNAPSHOT is an id, a prefix that fits only one, latest (the default), or @2026-11-23T06:00:00Z for the newest at or before that instant. Flags stand after the command, before or after SNAPSHOT.",
	"The result goes to standard output, as text or, with --json, as one document; progress, warnings and errors go to standard error, progress only on a terminal.",
	"Whatever writes to Redis shows what it would do, and does it only with --apply.",
}

var exitMeanings = []struct {
	code    int
	meaning string
}{
	{exitOK, "fine"},
	{exitFailed, "failed"},
	{exitUsage, "the command line, a plan or a URL cannot be understood"},
	{exitFindings, "there is something to do or to decide: diff found lost jobs, verify a broken invariant, drill a difference"},
	{exitNoSnapshot, "no such snapshot or store"},
	{exitDamaged, "stored data is damaged"},
	{exitPartly, "partly done: run the same command again"},
	{exitRefused, "refused for safety: the message says why"},
	{exitInterrupted, "interrupted"},
}

var files = [][2]string{
	{"./rqvault-data", "the store, where neither --store nor RQVAULT_STORE names one"},
	{configPath, "what is kept safe, where and when: the configuration, where neither --config nor RQVAULT_CONFIG names another"},
	{"/etc/rqvault/rqvault.env", "variables of the services, one NAME=VALUE on a line"},
	{"/var/lib/rqvault", "the home of the services, and the store of those that name no other"},
}

var examples = [][2]string{
	{"rqvault backup --store s3://backups/redis", "Take a snapshot of the Redis on this host, and store it in S3."},
	{"rqvault diff", "After an outage: what became of every job since the newest snapshot? Changes nothing."},
	{"rqvault restore --apply", "Put the lost jobs back. Without --apply: show what would be done."},
	{"rqvault verify --all --quiet", "Prove every snapshot; say nothing if all are whole."},
	{"rqvault drill", "Load the newest snapshot into a private redis-server, and compare."},
}
