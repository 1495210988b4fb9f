package doctor

// part says what a check needs to have been looked at.
type part func(f *Facts) bool

func always(*Facts) bool       { return true }
func hasServer(f *Facts) bool  { return f.Server != nil }
func hasQueues(f *Facts) bool  { return f.Queues != nil }
func hasHost(f *Facts) bool    { return hasServer(f) && f.Host != nil }
func hasLog(f *Facts) bool     { return f.Log != nil }
func hasStore(f *Facts) bool   { return f.Store != nil }
func overTCP(f *Facts) bool    { return !f.Reach.Socket }
func overTLS(f *Facts) bool    { return f.Reach.TLS }
func isCluster(f *Facts) bool  { return hasServer(f) && f.Server.Info["cluster_enabled"] == "1" }
func whenLoaded(f *Facts) bool { return hasServer(f) && !f.Server.loading() }

// Definition is one check: when it warns, when it fails, and what to type then. The
// words are those of docs/doctor.md.
type Definition struct {
	Name, Warns, Fails, Next string

	applies part
	judge   func(f *Facts) finding
}

// Definitions lists the checks in the order in which an outage is looked into.
var Definitions = []Definition{
	{"name", "", "the host's name does not resolve", "getent hosts $HOST", overTCP, judgeName},
	{"connection", "", "nothing listens there, or nothing answers in time", "systemctl status redis-server", always, judgeConnection},
	{"tls", "the certificate ends within two weeks", "the handshake fails: expired, another authority, another name, no TLS there", "openssl s_client -connect $ADDR", overTLS, judgeTLS},
	{"login", "", "a password is missing or wrong", "redis-cli -u $REDIS --askpass ping", always, judgeLogin},
	{"answer", "", "no Redis answers there; it hangs, runs a script that does not end, has no connection left, or the database does not exist", "redis-cli -u $REDIS ping", always, judgeAnswer},
	{"loading", "", "it is still loading its data: every command but INFO is refused", "redis-cli -u $REDIS info persistence", hasServer, judgeLoading},
	{"rights", "the user may not do what `backup`, `diff` or `restore` need", "", "redis-cli -u $REDIS acl whoami", whenLoaded, judgeRights},
	{"latency", "the median of the pings is over 250 ms, or one took over two seconds", "the median is over a second", "redis-cli -u $REDIS --latency", hasServer, judgeLatency},

	{"role", "it is a replica: workers and restores need its master", "", "redis-cli -u $REDIS role", hasServer, judgeRole},
	{"replication", "a replica is 5 s behind or synchronizes", "the link to the master is down; a replica is 60 s behind; fewer replicas than `min-replicas-to-write`, so that writes are refused", "redis-cli -u $REDIS info replication", hasServer, judgeReplication},
	{"failover", "a failover is going on", "", "redis-cli -u $REDIS info replication", hasServer, judgeFailover},
	{"cluster", "it is a node of a Redis Cluster, which RQ cannot use", "the same, and the cluster's state is not ok", "redis-cli -u $REDIS cluster info", isCluster, judgeCluster},

	{"memory", "90 % of `maxmemory` is used", "all of it is used, and nothing may be evicted: what enqueues is refused (OOM)", "redis-cli -u $REDIS info memory", hasServer, judgeMemory},
	{"eviction", "the policy evicts keys with a ttl, and waiting jobs have one; or keys were evicted", "the policy may evict any key, jobs and queues too", "redis-cli -u $REDIS config set maxmemory-policy noeviction", hasServer, judgeEviction},
	{"fragmentation", "over 100 MiB are lost between keys, more than half of what is used; or a part is swapped out", "", "redis-cli -u $REDIS memory doctor", hasServer, judgeFragmentation},
	{"buffers", "clients' buffers hold over 256 MiB, or a client was cut off for its buffer", "", "redis-cli -u $REDIS client list", hasServer, judgeBuffers},
	{"fork", "a save may find no memory; or the last fork stopped Redis for over a second", "", "sysctl vm.overcommit_memory=1", hasHost, judgeFork},
	{"huge-pages", "transparent huge pages are on for Redis: saves cost memory and time", "", "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled", hasHost, judgeHugePages},

	{"disk", "less room than Redis has data", "less room than the last dump takes, or the data directory is gone", "df -h $DIR", hasHost, judgeDisk},
	{"misconf", "", "the last save failed, and Redis therefore refuses writes (MISCONF)", "redis-cli -u $REDIS bgsave", hasServer, judgeMisconf},
	{"persistence", "neither save points nor AOF: a restart loses everything; or the AOF is never synced", "", "redis-cli -u $REDIS config set save '3600 1 300 100 60 10000'", hasServer, judgePersistence},
	{"last-save", "a save that its save points ask for is overdue", "the last save failed", "redis-cli -u $REDIS bgsave", hasServer, judgeLastSave},
	{"aof", "the last rewrite failed", "the last write to the AOF failed: writes are refused or lost", "redis-cli -u $REDIS info persistence", hasServer, judgeAOF},
	{"slow-log", "in the last ten minutes three commands took over 250 ms, or one over a second", "", "redis-cli -u $REDIS slowlog len", whenLoaded, judgeSlowLog},
	{"clients", "80 % of `maxclients` are connected, or connections were refused", "95 % are connected", "redis-cli -u $REDIS client list", hasServer, judgeClients},
	{"log", "its log of the last day has a line that is known to cost time, or cost data or service over an hour ago", "it has one of the last hour that is known to cost data or service", "tail -n 100 $LOG", hasLog, judgeLog},

	{"suspended", "workers are suspended: they take no jobs", "", "rq resume -u $REDIS", hasQueues, judgeSuspended},
	{"queues", "there is no queue of RQ's: another database, or the data is gone", "", "rqvault diff", hasQueues, judgeQueues},
	{"workers", "a registered worker gives no sign of life", "jobs wait, and no worker is alive", "rq info -u $REDIS", hasQueues, judgeWorkers},
	{"unserved", "", "jobs wait in a queue that no living worker serves, though others live", "rq info -u $REDIS", hasQueues, judgeUnserved},
	{"waiting", "the job at the head of a queue waits for longer than `--max-wait`", "", "rq info -u $REDIS", hasQueues, judgeWaiting},
	{"growing", "a queue of a hundred or more jobs grew between two looks", "", "rq info -u $REDIS", hasQueues, judgeGrowing},
	{"scheduler", "", "scheduled jobs are two minutes overdue, and no scheduler serves their queue", "rq worker --with-scheduler -u $REDIS", hasQueues, judgeScheduler},
	{"running", "a run's last heartbeat ended over eleven minutes ago, and no worker's maintenance has seen to it", "", "rqvault verify --live", hasQueues, judgeRunning},
	{"intermediate", "ids were popped and never prepared: their jobs do not run", "", "rqvault restore --repair", hasQueues, judgeIntermediate},
	{"rules", "one of RQ's [invariants](invariants.md) does not hold", "a critical one does not hold: a job is lost or doubled, or a worker stands still", "rqvault verify --live", hasQueues, judgeRules},

	{"snapshot", "the last snapshot is older than `--max-age`", "there is none, or the store cannot be read", "rqvault backup", hasStore, judgeSnapshot},
	{"verified", "no snapshot younger than `--max-age` was verified", "the last verify or drill of the newest one failed", "rqvault verify", hasStore, judgeVerified},
	{"restarted", "it is another Redis process than at the last snapshot: it was restarted, or another server took over", "", "rqvault diff", hasStore, judgeRestarted},
}
