// Package lineage decides what a live Redis is to a snapshot: the same data grown
// older, an older copy come back, or the same process that lost keys. It judges from
// what the server said of itself at both times; it knows no network.
package lineage

import "time"

// Facts is what a server says of itself: the evidence on which it is decided later
// whether live data is complete, older, or cut short. Zero may mean "zero" or "not
// told"; Unavailable says which.
type Facts struct {
	TakenAt     time.Time `json:"taken_at"`              // by our clock
	ServerTime  time.Time `json:"server_time"`           // by TIME, microseconds
	ClockSkewMS int64     `json:"clock_skew_ms"`         // server's clock minus ours, milliseconds
	Unavailable []string  `json:"unavailable,omitempty"` // what the server would not tell, such as "CONFIG GET dir"

	Server        string `json:"server"`  // "redis" or "valkey"
	Version       string `json:"version"` // of that server
	CompatVersion string `json:"compat_version,omitempty"`
	Mode          string `json:"mode"` // "standalone", "cluster", "sentinel"
	RunID         string `json:"run_id"`
	ProcessID     int64  `json:"process_id"`
	UptimeSeconds int64  `json:"uptime_seconds"`

	Replication Replication `json:"replication"`
	Persistence Persistence `json:"persistence"`
	Memory      Memory      `json:"memory"`

	// Commands and connections only ever grow, until the counters are set back.
	TotalCommands    int64 `json:"total_commands_processed"`
	TotalConnections int64 `json:"total_connections_received"`

	ExpiredKeys int64 `json:"expired_keys"` // since start or CONFIG RESETSTAT, as all counters here
	EvictedKeys int64 `json:"evicted_keys"`
	// Calls counts the commands that remove or replace data, by lower-case name.
	// A name that is absent was never called. "config|resetstat" (7.0 and newer)
	// tells that the counters were set back.
	Calls map[string]int64 `json:"calls"`

	ClusterEnabled bool      `json:"cluster_enabled"`
	Keyspace       []DBFacts `json:"keyspace"` // databases that hold keys, by number
}

// DBFacts are the counts of one database.
type DBFacts struct {
	DB      int   `json:"db"`
	Keys    int64 `json:"keys"`
	Expires int64 `json:"expires"` // keys that have an expiry
}

// Replication is the place of the server's data in the history of its data set.
type Replication struct {
	Role              string `json:"role"` // "master" or "slave"
	MasterReplID      string `json:"master_replid"`
	MasterReplID2     string `json:"master_replid2"`
	MasterReplOffset  int64  `json:"master_repl_offset"`
	SecondReplOffset  int64  `json:"second_repl_offset"`
	ConnectedReplicas int64  `json:"connected_replicas"`
	MasterHost        string `json:"master_host,omitempty"`
	MasterPort        int64  `json:"master_port,omitempty"`
	MasterLinkStatus  string `json:"master_link_status,omitempty"` // "up" or "down", of a replica
	BacklogActive     bool   `json:"backlog_active"`
}

// Persistence is what the server did with its data on disk. Times are Unix seconds.
type Persistence struct {
	Loading              bool   `json:"loading"`
	AsyncLoading         bool   `json:"async_loading"`
	AOFEnabled           bool   `json:"aof_enabled"`
	AOFRewriteInProgress bool   `json:"aof_rewrite_in_progress"`
	AOFLastWriteStatus   string `json:"aof_last_write_status,omitempty"`
	LastSaveTime         int64  `json:"rdb_last_save_time"` // after a restart the start time: no age of the data
	LastBgsaveStatus     string `json:"rdb_last_bgsave_status"`
	BgsaveInProgress     bool   `json:"rdb_bgsave_in_progress"`
	Saves                int64  `json:"rdb_saves"`
	ChangesSinceLastSave int64  `json:"rdb_changes_since_last_save"`
	LastLoadKeysLoaded   int64  `json:"rdb_last_load_keys_loaded"`
	LastLoadKeysExpired  int64  `json:"rdb_last_load_keys_expired"`
	Dir                  string `json:"dir,omitempty"`
	DBFilename           string `json:"dbfilename,omitempty"`
	RDBChecksum          string `json:"rdbchecksum,omitempty"` // "yes" or "no"
	RDBCompression       string `json:"rdbcompression,omitempty"`
}

// Memory is the part of the memory settings that lets keys vanish.
type Memory struct {
	Used      int64  `json:"used_memory"` // bytes
	Max       int64  `json:"maxmemory"`   // bytes, 0 means no limit
	MaxPolicy string `json:"maxmemory_policy"`
}
