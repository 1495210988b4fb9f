package live

import (
	"context"
	"errors"

	"rqvault/internal/lineage"
)

// facts is lineage.Facts while it is being read.
type facts lineage.Facts

// countedCalls are the commands whose call counts are evidence.
var countedCalls = []string{
	"flushall", "flushdb", "swapdb", "del", "unlink", "getdel", "move", "rename", "renamenx",
	"expire", "pexpire", "expireat", "pexpireat", "restore", "restore-asking", "migrate",
	"replicaof", "slaveof", "debug", "config|resetstat",
}

// Facts asks the server for everything that is evidence. What it does not tell is
// listed in Unavailable and is no error; the only errors are a lost connection, a
// refused login and the end of ctx.
func (s *Server) Facts(ctx context.Context) (lineage.Facts, error) {
	f := facts{TakenAt: s.opts.Now(), Calls: map[string]int64{}}
	in, err := s.fullInfo(ctx, &f)
	if err != nil {
		return lineage.Facts{}, err
	}
	f.readServer(in)
	f.readReplication(in)
	f.readPersistence(in)
	f.Memory = lineage.Memory{Used: in.num("used_memory"), Max: in.num("maxmemory"), MaxPolicy: in.str("maxmemory_policy")}
	f.ExpiredKeys, f.EvictedKeys = in.num("expired_keys"), in.num("evicted_keys")
	f.TotalCommands, f.TotalConnections = in.num("total_commands_processed"), in.num("total_connections_received")
	f.ClusterEnabled = in.flag("cluster_enabled")
	f.Keyspace = in.keyspace()
	for _, name := range countedCalls {
		if n := in.fields("cmdstat_" + name).num("calls"); n > 0 {
			f.Calls[name] = n
		}
	}
	if err := s.readConfig(ctx, &f); err != nil {
		return lineage.Facts{}, err
	}
	server, skew, err := s.clock(ctx)
	if err := f.tolerate("TIME", err); err != nil {
		return lineage.Facts{}, err
	}
	f.ServerTime, f.ClockSkewMS = server, skew.Milliseconds()
	return lineage.Facts(f), nil
}

// fullInfo reads every section that the server gives.
func (s *Server) fullInfo(ctx context.Context, f *facts) (infoFields, error) {
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
func (f *facts) tolerate(what string, err error) error {
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

func (f *facts) readServer(in infoFields) {
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

func (f *facts) readReplication(in infoFields) {
	f.Replication = lineage.Replication{
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

func (f *facts) readPersistence(in infoFields) {
	f.Persistence = lineage.Persistence{
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

func (s *Server) readConfig(ctx context.Context, f *facts) error {
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
