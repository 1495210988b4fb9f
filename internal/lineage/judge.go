package lineage

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Mode is what the live data is to the snapshot.
type Mode string

// The modes. Complete: live holds everything the snapshot's instant held, so what is
// gone ended. Older: live came back from before that instant, empty included.
// Vanished: the same process runs on, but lost keys (flush, eviction).
const (
	Complete Mode = "complete"
	Older    Mode = "older"
	Vanished Mode = "vanished"
)

// ErrLoading: the live server is still loading its data, so nothing can be compared.
var ErrLoading = errors.New("redis is still loading its data")

// Judgement is a Mode with the reasons that led to it, in words for people.
type Judgement struct {
	Mode      Mode      `json:"mode"`
	Reasons   []string  `json:"reasons"`
	Flushed   bool      `json:"flushed"`    // whole databases were emptied since the snapshot
	StartedAt time.Time `json:"started_at"` // when the live process started; zero if not told
}

// Past is what a snapshot's manifest knows of the server.
type Past struct {
	Before, After Facts
	CreatedAt     time.Time // the instant the dump stands for
	ReplID        string    // the dump's own place in the replication history, if it has one
	ReplOffset    int64     // -1 if it has none
}

// NewPast reads the dump's auxiliary fields for its place in the replication history.
func NewPast(before, after Facts, createdAt time.Time, aux map[string]string) Past {
	p := Past{Before: before, After: after, CreatedAt: createdAt, ReplID: aux["repl-id"], ReplOffset: -1}
	if n, err := strconv.ParseInt(aux["repl-offset"], 10, 64); err == nil && p.ReplID != "" {
		p.ReplOffset = n
	}
	return p
}

// StartedAt is when the process that gave the facts started, by its own clock; zero if
// it did not say.
func (f *Facts) StartedAt() time.Time {
	if f.RunID == "" || f.ServerTime.IsZero() {
		return time.Time{}
	}
	return f.ServerTime.Add(-time.Duration(f.UptimeSeconds) * time.Second)
}

// Judge decides the mode. watermark is the newest instant found in live data from
// before the live process started; zero if there is none.
func Judge(past Past, live Facts, watermark time.Time) (Judgement, error) {
	if live.Persistence.Loading || live.Persistence.AsyncLoading {
		return Judgement{}, ErrLoading
	}
	j := Judgement{StartedAt: live.StartedAt()}
	same := past.After.RunID
	if same == "" {
		same = past.Before.RunID
	}
	if same != "" && live.RunID == same {
		j.judgeSame(past, live)
		return j, nil
	}
	j.judgeRestarted(past, live, watermark)
	return j, nil
}

func (j *Judgement) say(format string, args ...any) {
	j.Reasons = append(j.Reasons, fmt.Sprintf(format, args...))
}

// judgeSame is for a process that has run on since the snapshot: only a flush, a
// replacement of its data or eviction can have taken keys that RQ did not take itself.
func (j *Judgement) judgeSame(past Past, live Facts) {
	j.Mode = Complete
	j.say("the same Redis process has been running since the snapshot (run id %.8s…)", live.RunID)
	for _, name := range []string{"flushall", "flushdb"} {
		if n := live.Calls[name] - past.Before.Calls[name]; n > 0 {
			j.Mode, j.Flushed = Vanished, true
			j.say("%s was called %s since the snapshot", name, times(n))
		}
	}
	for _, name := range []string{"swapdb", "replicaof", "slaveof"} {
		if n := live.Calls[name] - past.Before.Calls[name]; n > 0 {
			j.Mode, j.Flushed = Vanished, true
			j.say("%s was called %s since the snapshot: it replaces data as a whole", name, times(n))
		}
	}
	if n := live.EvictedKeys - past.Before.EvictedKeys; n > 0 {
		j.Mode = Vanished
		j.say("Redis evicted %d keys since the snapshot for lack of memory (maxmemory-policy %s)", n, live.Memory.MaxPolicy)
	}
	if live.Calls["config|resetstat"] > past.Before.Calls["config|resetstat"] {
		j.say("the counters were reset since the snapshot (CONFIG RESETSTAT), so a flush before that could be missed")
	}
	if j.Mode == Complete && slices.Contains(live.Unavailable, "INFO commandstats") {
		j.say("the server does not tell its command counts, so a flush could be missed")
	}
}

func times(n int64) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// judgeRestarted is for another process than the one the snapshot was taken from: it
// may have loaded everything, an older copy, or nothing.
func (j *Judgement) judgeRestarted(past Past, live Facts, watermark time.Time) {
	if live.RunID == "" {
		j.say("the server does not tell its run id, so a restart cannot be excluded")
	} else {
		j.say("this is another Redis process than at the snapshot (run id %.8s…, then %.8s…)", live.RunID, past.Before.RunID)
	}
	if past.continuedBy(live.Replication) {
		j.Mode = Complete
		j.say("its replication history continues the snapshot's, at a later offset: it holds at least the snapshot's data")
		return
	}
	if live.startedEmpty() {
		j.Mode = Older
		j.say("it started without loading any key")
		return
	}
	at := past.CreatedAt.UTC().Format(time.RFC3339)
	switch {
	case watermark.IsZero():
		j.Mode = Older
		j.say("nothing in it dates from before it started")
	case watermark.Before(past.CreatedAt):
		j.Mode = Older
		j.say("the newest job data it came back with is from %s, before the snapshot (%s)", watermark.UTC().Format(time.RFC3339), at)
	default:
		j.Mode = Complete
		j.say("it came back with job data from %s, after the snapshot (%s)", watermark.UTC().Format(time.RFC3339), at)
	}
}

// startedEmpty reports whether the server says itself that it loaded nothing. It counts
// loaded keys since 7.0, and only those of an RDB file.
func (f *Facts) startedEmpty() bool {
	major, _, _ := strings.Cut(f.Version, ".")
	n, err := strconv.Atoi(major)
	return err == nil && n >= 7 && f.RunID != "" && f.Persistence.LastLoadKeysLoaded == 0 && !f.Persistence.AOFEnabled &&
		f.Replication.Role == "master"
}

// continuedBy reports whether the replication history proves that live data is at
// least as new as the snapshot. Offsets compare only within one history.
func (p *Past) continuedBy(r Replication) bool {
	id, offset := p.ReplID, p.ReplOffset
	if offset < 0 {
		return false
	}
	if r.MasterReplID == id && r.MasterReplOffset >= offset {
		return true
	}
	return r.MasterReplID2 == id && r.SecondReplOffset-1 >= offset
}
