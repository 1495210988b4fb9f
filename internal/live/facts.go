package live

import (
	"context"
	"errors"
	"time"
)

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

// countedCalls are the commands whose call counts are evidence.
var countedCalls = []string{
	"flushall", "flushdb", "swapdb", "del", "unlink", "getdel", "move", "rename", "renamenx",
	"expire", "pexpire", "expireat", "pexpireat", "restore", "restore-asking", "migrate",
	"replicaof", "slaveof", "debug", "config|resetstat",
}

// Facts asks the server for everything that is evidence. What it does not tell is
// listed in Unavailable and is no error; the only errors are a lost connection, a
// refused login and the end of ctx.
func (s *Server) Facts(ctx context.Context) (Facts, error) {
	f := Facts{TakenAt: s.opts.Now(), Calls: map[string]int64{}}
	in, err := s.fullInfo(ctx, &f)
	if err != nil {
		return Facts{}, err
	}
	f.readServer(in)
	f.readReplication(in)
	f.readPersistence(in)
	f.Memory = Memory{Used: in.num("used_memory"), Max: in.num("maxmemory"), MaxPolicy: in.str("maxmemory_policy")}
	f.ExpiredKeys, f.EvictedKeys = in.num("expired_keys"), in.num("evicted_keys")
	f.ClusterEnabled = in.flag("cluster_enabled")
	f.Keyspace = in.keyspace()
	for _, name := range countedCalls {
		if n := in.fields("cmdstat_" + name).num("calls"); n > 0 {
			f.Calls[name] = n
		}
	}
	if err := s.readConfig(ctx, &f); err != nil {
		return Facts{}, err
	}
	server, skew, err := s.clock(ctx)
	if err := f.tolerate("TIME", err); err != nil {
		return Facts{}, err
	}
	f.ServerTime, f.ClockSkewMS = server, skew.Milliseconds()
	return f, nil
}

// fullInfo reads every section that the server gives.
func (s *Server) fullInfo(ctx context.Context, f *Facts) (infoFields, error) {
	in, err := s.info(ctx, "all")
	if err != nil && isRefusal(err) {
		if in, err = s.info(ctx, ""); err == nil {
			f.Unavailable = append(f.Unavailable, "INFO all")
		}
	}
	if err := f.tolerate("INFO", err); err != nil {
		return nil, err
	}
	if in == nil {
		return infoFields{}, nil
	}
	for _, part := range []struct{ section, field string }{
		{"server", "run_id"}, {"replication", "role"}, {"persistence", "rdb_last_save_time"},
		{"memory", "used_memory"}, {"stats", "expired_keys"},
	} {
		if !in.has(part.field) {
			f.Unavailable = append(f.Unavailable, "INFO "+part.section)
		}
	}
	if !in.hasPrefix("cmdstat_") {
		f.Unavailable = append(f.Unavailable, "INFO commandstats")
	}
	return in, nil
}

// tolerate notes a refusal and lets only errors through that end the session.
func (f *Facts) tolerate(what string, err error) error {
	if err != nil && isRefusal(err) {
		f.Unavailable = append(f.Unavailable, what)
		return nil
	}
	return err
}

// isRefusal reports whether the server answered, but with no: any error reply that
// is not about the login.
func isRefusal(err error) bool {
	var r *ReplyError
	return errors.As(err, &r) && !errors.Is(err, ErrAuth)
}

func (f *Facts) readServer(in infoFields) {
	f.Server, f.Version = "redis", in.str("redis_version")
	if v := in.str("valkey_version"); v != "" {
		f.Server, f.Version, f.CompatVersion = "valkey", v, f.Version
	}
	f.Mode = in.str("redis_mode")
	if f.Mode == "" {
		f.Mode = in.str("server_mode")
	}
	f.RunID, f.ProcessID = in.str("run_id"), in.num("process_id")
	f.UptimeSeconds = in.num("uptime_in_seconds")
}

func (f *Facts) readReplication(in infoFields) {
	f.Replication = Replication{
		Role:              in.str("role"),
		MasterReplID:      in.str("master_replid"),
		MasterReplID2:     in.str("master_replid2"),
		MasterReplOffset:  in.num("master_repl_offset"),
		SecondReplOffset:  in.num("second_repl_offset"),
		ConnectedReplicas: in.num("connected_slaves"),
		MasterHost:        in.str("master_host"),
		MasterPort:        in.num("master_port"),
		MasterLinkStatus:  in.str("master_link_status"),
		BacklogActive:     in.flag("repl_backlog_active"),
	}
}

func (f *Facts) readPersistence(in infoFields) {
	f.Persistence = Persistence{
		Loading:              in.flag("loading"),
		AsyncLoading:         in.flag("async_loading"),
		AOFEnabled:           in.flag("aof_enabled"),
		AOFRewriteInProgress: in.flag("aof_rewrite_in_progress"),
		AOFLastWriteStatus:   in.str("aof_last_write_status"),
		LastSaveTime:         in.num("rdb_last_save_time"),
		LastBgsaveStatus:     in.str("rdb_last_bgsave_status"),
		BgsaveInProgress:     in.flag("rdb_bgsave_in_progress"),
		Saves:                in.num("rdb_saves"),
		ChangesSinceLastSave: in.num("rdb_changes_since_last_save"),
		LastLoadKeysLoaded:   in.num("rdb_last_load_keys_loaded"),
		LastLoadKeysExpired:  in.num("rdb_last_load_keys_expired"),
	}
}

func (s *Server) readConfig(ctx context.Context, f *Facts) error {
	p := &f.Persistence
	for _, c := range []struct {
		name string
		to   *string
	}{
		{"dir", &p.Dir}, {"dbfilename", &p.DBFilename},
		{"rdbchecksum", &p.RDBChecksum}, {"rdbcompression", &p.RDBCompression},
	} {
		v, err := s.config(ctx, c.name)
		if err := f.tolerate("CONFIG GET "+c.name, err); err != nil {
			return err
		}
		*c.to = v
	}
	if f.Memory.MaxPolicy != "" {
		return nil
	}
	v, err := s.config(ctx, "maxmemory-policy")
	f.Memory.MaxPolicy = v
	return f.tolerate("CONFIG GET maxmemory-policy", err)
}
