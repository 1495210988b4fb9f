package doctor

import (
	"strconv"
	"strings"
	"time"
)

// saveFailed reports whether the last save of Redis' own failed.
func (s *Server) saveFailed() bool {
	status := s.Info["rdb_last_bgsave_status"]
	return status != "" && status != "ok"
}

func judgeMisconf(f *Facts) finding {
	s := f.Server
	if missing, is := s.untold("rdb_last_bgsave_status"); is {
		return missing
	}
	stops, told := s.Settings["stop-writes-on-bgsave-error"]
	points, told2 := s.Settings["save"]
	switch {
	case !s.saveFailed():
		return ok("no failed save stops writes")
	case !told || !told2:
		return s.unset("stop-writes-on-bgsave-error")
	case stops == "yes" && points != "":
		return fail("the last save failed, so Redis refuses every write (MISCONF): nothing can be enqueued or end until a save succeeds; see its log and its disk")
	}
	return ok("the last save failed, but writes go on")
}

func judgePersistence(f *Facts) finding {
	s := f.Server
	points, told := s.Settings["save"]
	if !told {
		return s.unset("save")
	}
	aof := s.num("aof_enabled") != 0 || s.Settings["appendonly"] == "yes"
	switch {
	case points == "" && !aof:
		return warn("it saves nothing by itself (no save points, no AOF): a restart loses every job since the last snapshot")
	case aof && s.Settings["appendfsync"] == "no":
		return warn("its AOF is written to disk only when the system pleases (appendfsync no)").do("redis-cli -u $REDIS config set appendfsync everysec")
	}
	return ok("it keeps its data by itself").with("save", points).with("aof", aof)
}

func judgeLastSave(f *Facts) finding {
	s := f.Server
	if missing, is := s.untold("rdb_last_save_time"); is {
		return missing
	}
	now := s.Now
	if now.IsZero() {
		now = f.At
	}
	age, changes := now.Sub(time.Unix(s.num("rdb_last_save_time"), 0)), s.num("rdb_changes_since_last_save")
	got := ok("saved or started %s ago, %s since", span(age), plural(changes, "change"))
	if point := overdue(s.Settings["save"], age, changes); point != "" {
		got = warn("saved or started %s ago, %s since: its save point %q is overdue", span(age), plural(changes, "change"), point)
	}
	if s.saveFailed() {
		got = fail("the last save failed (%s since the last good one): a restart loses them; see its log and its disk", plural(changes, "change"))
	}
	return got.with("age_seconds", int64(age.Seconds())).with("changes", changes)
}

// overdue returns the save point that should have led to a save by now, with as much
// time again for the save itself.
func overdue(points string, age time.Duration, changes int64) string {
	words := strings.Fields(points)
	for i := 0; i+1 < len(words); i += 2 {
		after, err1 := strconv.ParseInt(words[i], 10, 64)
		least, err2 := strconv.ParseInt(words[i+1], 10, 64)
		if err1 == nil && err2 == nil && changes >= least && age > 2*time.Duration(after)*time.Second+time.Minute {
			return words[i] + " " + words[i+1]
		}
	}
	return ""
}

func judgeAOF(f *Facts) finding {
	s := f.Server
	if missing, is := s.untold("aof_enabled"); is {
		return missing
	}
	bad := func(field string) bool { return s.Info[field] != "" && s.Info[field] != "ok" }
	switch {
	case s.num("aof_enabled") == 0:
		return ok("no AOF")
	case bad("aof_last_write_status"):
		return fail("the last write to the AOF failed, so writes are refused (MISCONF) or lost; see its log and its disk")
	case bad("aof_last_bgrewrite_status"):
		return warn("the last rewrite of the AOF failed: it grows without end; see its log and its disk").do("redis-cli -u $REDIS bgrewriteaof")
	}
	return ok("the AOF is written").with("delayed_fsyncs", s.num("aof_delayed_fsync"))
}
