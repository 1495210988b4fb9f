package doctor

import "time"

// Store is what is known of the source's snapshots.
type Store struct {
	Problem  string // why it could not be read
	Newest   *Snapshot
	Verified time.Time // instant of the newest snapshot that was proven; zero: none was
}

// Snapshot is the newest one.
type Snapshot struct {
	ID     string
	At     time.Time
	Failed bool   // its last verify or drill failed
	RunID  string // of the Redis process it was taken of
	ReplID string // of that one's history
}

func judgeSnapshot(f *Facts) finding {
	s := f.Store
	switch {
	case s.Problem != "":
		return fail("the store cannot be read: %s", s.Problem).do("rqvault snapshots")
	case s.Newest == nil:
		return fail("there is no snapshot yet: what Redis loses now is lost")
	}
	age := f.At.Sub(s.Newest.At)
	got := ok("the last snapshot is %s old", span(age))
	if age > f.Limits.MaxAge {
		got = warn("the last snapshot is %s old: what was enqueued since is in none", span(age))
	}
	return got.with("snapshot", s.Newest.ID).with("age_seconds", int64(age.Seconds()))
}

func judgeVerified(f *Facts) finding {
	s := f.Store
	switch {
	case s.Problem != "" || s.Newest == nil:
		return finding{} // judgeSnapshot says so
	case s.Newest.Failed:
		return fail("the last verify or drill of the newest snapshot, %s, failed: do not count on it", s.Newest.ID).do("rqvault backup")
	case s.Verified.IsZero():
		return warn("no snapshot was ever verified: nobody knows whether one is whole")
	case f.At.Sub(s.Verified) > f.Limits.MaxAge:
		return warn("the newest verified snapshot is %s old", span(f.At.Sub(s.Verified)))
	}
	return ok("a snapshot that is %s old was verified", span(f.At.Sub(s.Verified)))
}

func judgeRestarted(f *Facts) finding {
	if f.Server == nil || f.Store.Newest == nil {
		return finding{}
	}
	now, then := f.Server.Info, f.Store.Newest
	if missing, is := f.Server.untold("run_id"); is {
		return missing
	}
	up := time.Duration(f.Server.num("uptime_in_seconds")) * time.Second
	switch {
	case then.RunID == "" || then.RunID == now["run_id"]:
		return ok("it is the same Redis process as at the last snapshot")
	case then.ReplID != "" && then.ReplID == now["master_replid2"] && up-time.Second > f.At.Sub(then.At):
		return warn("since the last snapshot another server took over (failover): see whether it had everything")
	}
	return warn("Redis was started %s ago, after the last snapshot: see whether it came back with everything", span(up)).with("uptime_seconds", int64(up.Seconds()))
}
