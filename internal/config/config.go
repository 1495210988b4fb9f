// Package config is rqvault.yml: one file that names servers, stores, schedules,
// retention, policies and alarms. The types below are its only description: the reader,
// the variables of the environment, the commented default, the JSON Schema and docs/config.md
// all come from their fields and tags.
package config

import "time"

// Config is the whole file.
//
// The tags of a field: yaml is its key; doc says what it is, for people; default is its
// value where the file has none; secret keeps it out of whatever is printed, and gives the
// key a twin that ends in _file; one is the list of the values it may have; example stands
// in the commented default; none says that there a map of names stays empty.
type Config struct {
	Stores  map[string]*Store  `yaml:"stores" doc:"where snapshots are kept, by name"`
	Sources map[string]*Source `yaml:"sources" doc:"the Redis servers to keep safe, by name, which is also the name of their folder in the store"`
	Daemon  Daemon             `yaml:"daemon" doc:"how rqvault schedule runs"`
	Alarms  Alarms             `yaml:"alarms" doc:"who is told, and of what"`
}

// Store is one place for snapshots.
type Store struct {
	URL string `yaml:"url" doc:"a directory, file:///path or s3://bucket/prefix?endpoint=…&region=…; credentials come by the AWS chain" example:"/var/lib/rqvault"`
}

// Source is one Redis and all that is done about it.
type Source struct {
	Redis         string            `yaml:"redis" doc:"redis://, rediss://, unix:// or redis+sentinel:// URL" default:"redis://localhost:6379/0" example:"redis://localhost:6379/0"`
	RedisPassword string            `yaml:"redis_password" doc:"password, where it should not stand in the URL" secret:"true"`
	Store         string            `yaml:"store" doc:"name of the store; needed where there are several"`
	Via           string            `yaml:"via" doc:"how to take the dump" default:"auto" one:"auto bgsave sync scan"`
	DumpDir       string            `yaml:"dump_dir" doc:"where Redis' data directory is seen from here, for bgsave"`
	SaveTimeout   time.Duration     `yaml:"save_timeout" doc:"how long Redis' own save may take" default:"30m"`
	TempDir       string            `yaml:"temp_dir" doc:"directory for temporary files"`
	LimitRate     string            `yaml:"limit_rate" doc:"most bytes per second between rqvault and Redis, such as 50MB/s; no limit if empty"`
	Policy        string            `yaml:"policy" doc:"for jobs of which nobody can know whether they ran" default:"at-least-once" one:"at-least-once at-most-once"`
	Policies      map[string]string `yaml:"policies" doc:"the same for single queues" one:"at-least-once at-most-once"`
	Started       string            `yaml:"started" doc:"what becomes of jobs that were running, once their runs are dead; by default what the policy says" one:"requeue fail hold"`
	ExtendTTL     bool              `yaml:"extend_ttl" doc:"let jobs that wait, and have a ttl, live on by the time since the snapshot"`
	Patience      time.Duration     `yaml:"patience" doc:"how long a job may be in no list while workers are alive, before that counts" default:"2m"`
	ResumeRate    int               `yaml:"resume_rate" doc:"how many ids per second a restore puts back into queues at most; 0 for no limit"`
	MaxQueueDepth int               `yaml:"max_queue_depth" doc:"a restore puts none into a queue that is this long; 0 for no limit"`
	Identities    []string          `yaml:"identity_files" doc:"files that open encrypted snapshots: identities of age, private keys of SSH; only for what reads them"`
	Passphrase    string            `yaml:"passphrase_file" doc:"file with the passphrase that opens them"`
	SignKey       string            `yaml:"sign_key_file" doc:"file with the key that signs snapshots"`
	VerifyKeys    []string          `yaml:"verify_key_files" doc:"files with the keys of which one must have signed a snapshot"`
	Schedule      Schedule          `yaml:"schedule" doc:"when what is done. A time is a cron expression of five fields, or six with seconds, or @hourly, @daily, @weekly, @every 5m; empty is never"`
	Keep          Keep              `yaml:"keep" doc:"which snapshots prune leaves; all, if nothing is set"`
}

// Schedule is when what is done about a source.
type Schedule struct {
	TimeZone    string        `yaml:"time_zone" doc:"of the cron expressions, such as Europe/Berlin" default:"UTC"`
	Jitter      time.Duration `yaml:"jitter" doc:"runs begin up to this much later, each source and task by its own fixed part of it"`
	Backup      string        `yaml:"backup" doc:"take a snapshot" default:"@every 5m" example:"@every 5m"`
	Verify      string        `yaml:"verify" doc:"read the newest snapshot back whole, and a share of the older ones" default:"@hourly" example:"@hourly"`
	VerifyOlder int           `yaml:"verify_older" doc:"how many older snapshots are read back with each verify, those longest unproven first" default:"1"`
	Drill       string        `yaml:"drill" doc:"restore the newest snapshot into a private redis-server and compare everything" example:"0 4 * * SUN"`
	DrillInto   string        `yaml:"drill_into" doc:"drill into this server instead, which is emptied each time" secret:"true"`
	Diff        string        `yaml:"diff" doc:"compare live Redis with the newest snapshot" default:"@every 1m" example:"@every 1m"`
	Fsck        string        `yaml:"fsck" doc:"check RQ's invariants in live Redis" default:"@every 10m" example:"@every 10m"`
	Prune       string        `yaml:"prune" doc:"remove what keep does not keep, and what broken backups left behind" example:"@hourly"`
	Retries     int           `yaml:"retries" doc:"how often a run that failed is tried again before its next time" default:"3"`
	RetryAfter  time.Duration `yaml:"retry_after" doc:"before the first of these; each further one waits twice as long" default:"10s"`
	Timeout     time.Duration `yaml:"timeout" doc:"a run that takes longer is stopped, and has failed" default:"2h"`
}

// Keep is a retention policy.
type Keep struct {
	Last    int           `yaml:"last" doc:"the newest so many"`
	Hourly  int           `yaml:"hourly" doc:"the newest of each of so many hours" example:"24"`
	Daily   int           `yaml:"daily" doc:"the newest of each of so many days" example:"14"`
	Weekly  int           `yaml:"weekly" doc:"the newest of each of so many weeks" example:"8"`
	Monthly int           `yaml:"monthly" doc:"the newest of each of so many months" example:"12"`
	Yearly  int           `yaml:"yearly" doc:"the newest of each of so many years"`
	Within  time.Duration `yaml:"within" doc:"all that are at most this much older than the newest" example:"14d"`
}

// Empty reports whether nothing is set.
func (k Keep) Empty() bool { return k == Keep{} }

// Daemon is how the daemon runs.
type Daemon struct {
	Listen   string        `yaml:"listen" doc:"address of /metrics, /healthz and /readyz; empty for none" default:"127.0.0.1:19121"`
	LeaseTTL time.Duration `yaml:"lease_ttl" doc:"after how long without a sign of the leader another replica leads" default:"1m"`
	Grace    time.Duration `yaml:"grace" doc:"how long runs may go on after SIGTERM before they are stopped" default:"20s"`
	Log      string        `yaml:"log" doc:"how log lines are written" default:"text" one:"text json"`
}

// Alarms say who is told, and of what.
type Alarms struct {
	MaxAge       time.Duration       `yaml:"max_snapshot_age" doc:"a source whose newest snapshot is older raises an alarm; by default three times the time between two backups"`
	MaxVerified  time.Duration       `yaml:"max_verified_age" doc:"likewise, of the newest snapshot that was read back, and of verify"`
	Repeat       time.Duration       `yaml:"repeat" doc:"how often an alarm that lasts is told again" default:"4h"`
	HeartbeatURL string              `yaml:"heartbeat_url" doc:"called after each snapshot, so that somebody else notices when that stops (a dead man's switch)" secret:"true"`
	Webhooks     map[string]*Webhook `yaml:"webhooks" doc:"called with each alarm, by name: {oncall: {url_file: /etc/rqvault/hook, format: slack}}" none:"true"`
	Command      []string            `yaml:"command" doc:"program and arguments, started for each alarm with its text on standard input; no shell: [/usr/local/bin/send-mail, oncall]"`
	Runbook      string              `yaml:"runbook" doc:"where the runbook is, a URL; alarms add their section" default:"docs/runbook.md"`
}

// Webhook is one URL that is told of alarms.
type Webhook struct {
	URL      string `yaml:"url" doc:"where to" secret:"true"`
	Format   string `yaml:"format" doc:"of the body" default:"json" one:"json slack"`
	Key      string `yaml:"key" doc:"of the HMAC-SHA256 signature of the body, for the format json" secret:"true"`
	Severity string `yaml:"severity" doc:"the least that is told" default:"warning" one:"warning critical"`
}
