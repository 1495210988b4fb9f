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
// Vanished: keys can have gone otherwise (flush, eviction), or nothing tells.
const (
	Complete Mode = "complete"
	Older    Mode = "older"
	Vanished Mode = "vanished"
)

// ErrLoading: the live server is still loading its data, so nothing can be compared.
var ErrLoading = errors.New("redis is still loading its data")

// ErrForeign: the live server is a replica, and its history is not the snapshot's.
var ErrForeign = errors.New("this replica's data has another history than the snapshot")

// Judgement is a Mode with the reasons that led to it, in words for people.
type Judgement struct {
	Mode     Mode     `json:"mode"`
	Reasons  []string `json:"reasons"`
	Flushed  bool     `json:"flushed"`  // whole databases were emptied or replaced since the snapshot
	Entirely bool     `json:"entirely"` // all of them, not one that may have been another's
	Unsure   bool     `json:"unsure"`   // nothing tells what live data is to the snapshot
	Blind    bool     `json:"blind"`    // the server's counters cannot rule out that it was emptied
	Empty    bool     `json:"empty"`    // it restarted, and says itself that it loaded no key
	// LoadedUntil is the instant up to which a restarted server's data reached when it
	// came back; zero if it came back empty or that is not known.
	LoadedUntil time.Time `json:"loaded_until,omitzero"`
	StartedAt   time.Time `json:"started_at"` // when the live process started; zero if not told
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

// Loaded is an instant not after the one at which the process began to serve: what is
// older was loaded by it, or came later with an older date. Servers tell their uptime in
// whole seconds, and what producers enqueue in a server's first second is no evidence of
// the data it came back with. It is zero if the server did not say.
func (f *Facts) Loaded() time.Time {
	if f.StartedAt().IsZero() {
		return time.Time{}
	}
	return f.StartedAt().Truncate(time.Second).Add(-time.Second)
}

// noHistory is what a server writes where it has none.
const noHistory = "0000000000000000000000000000000000000000"

// histories lists the replication ids that the snapshot's data is known under.
func (p *Past) histories() []string {
	var ids []string
	for _, id := range []string{p.ReplID, p.Before.Replication.MasterReplID, p.Before.Replication.MasterReplID2,
		p.After.Replication.MasterReplID, p.After.Replication.MasterReplID2} {
		if id != "" && id != noHistory {
			ids = append(ids, id)
		}
	}
	return ids
}

// Same reports whether live is the very process that the snapshot is of.
func (p *Past) Same(live Facts) bool {
	same := p.After.RunID
	if same == "" {
		same = p.Before.RunID
	}
	return same != "" && live.RunID == same
}

// Judge decides the mode. watermark is the newest instant found in live data from
// before the live process started; zero if there is none.
func Judge(past Past, live Facts, watermark time.Time) (Judgement, error) {
	if live.Persistence.Loading || live.Persistence.AsyncLoading {
		return Judgement{}, ErrLoading
	}
	if r := live.Replication; r.Role == "slave" && past.histories() != nil &&
		!slices.Contains(past.histories(), r.MasterReplID) && !slices.Contains(past.histories(), r.MasterReplID2) {
		return Judgement{}, ErrForeign
	}
	j := Judgement{StartedAt: live.StartedAt()}
	if past.Same(live) {
		j.judgeSame(past, live)
		return j, nil
	}
	j.judgeRestarted(past, live, watermark)
	return j, nil
}

// Assume returns the judgement of a person who knows better than the evidence.
func (j Judgement) Assume(m Mode) Judgement {
	return Judgement{Mode: m, StartedAt: j.StartedAt,
		Reasons: append(slices.Clone(j.Reasons), "it was told so; the evidence alone says "+string(j.Mode))}
}

func (j *Judgement) say(format string, args ...any) {
	j.Reasons = append(j.Reasons, fmt.Sprintf(format, args...))
}

// judgeSame is for a process that has run on since the snapshot: only a flush, a
// replacement of its data or eviction can have taken keys that RQ did not take itself.
func (j *Judgement) judgeSame(past Past, live Facts) {
	j.Mode = Complete
	j.say("the same Redis process has been running since the snapshot (run id %.8s…)", live.RunID)
	base := past.Before
	if base.RunID != live.RunID {
		base = past.After
	}
	if countersReset(base, live) {
		j.Blind = true
		j.say("the counters were reset since the snapshot (CONFIG RESETSTAT), so a flush before that could be missed")
		base = Facts{} // all they count now happened since
	}
	if slices.ContainsFunc(untoldCounts, func(what string) bool {
		return slices.Contains(live.Unavailable, what) || slices.Contains(base.Unavailable, what)
	}) {
		j.Blind = true
		j.say("the server does not tell its command counts, so a flush could be missed")
		live.Calls = nil
	}
	continued := past.continuedBy(live.Replication)
	if continued {
		j.say("its replication history continues the snapshot's")
	}
	j.judgeCounts(base, live, continued)
}

// untoldCounts are the words of Facts.Unavailable for a server without command counts.
var untoldCounts = []string{"INFO commandstats", "INFO"}

// countersReset reports whether any counter says that all were set back between the two.
// CONFIG RESETSTAT sets back its own count too.
func countersReset(base, live Facts) bool {
	if live.Calls["config|resetstat"] > base.Calls["config|resetstat"] ||
		live.EvictedKeys < base.EvictedKeys || live.ExpiredKeys < base.ExpiredKeys ||
		live.TotalCommands < base.TotalCommands || live.TotalConnections < base.TotalConnections {
		return true
	}
	if len(live.Calls) == 0 {
		return false // not told
	}
	for name, n := range base.Calls {
		if live.Calls[name] < n {
			return true
		}
	}
	return false
}

// judgeCounts looks for what took keys since base. continued says that the replication
// history of live data goes on from the snapshot's, whoever was whose replica.
func (j *Judgement) judgeCounts(base, live Facts, continued bool) {
	for _, name := range []string{"flushall", "flushdb"} {
		if n := live.Calls[name] - base.Calls[name]; n > 0 {
			j.Mode, j.Flushed = Vanished, true
			j.Entirely = j.Entirely || name == "flushall"
			j.say("%s was called %s since the snapshot", name, times(n))
		}
	}
	for _, name := range []string{"swapdb", "replicaof", "slaveof"} {
		if n := live.Calls[name] - base.Calls[name]; n > 0 && (name == "swapdb" || !continued) {
			j.Mode, j.Flushed = Vanished, true
			j.Entirely = j.Entirely || name != "swapdb"
			j.say("%s was called %s since the snapshot: it replaces data as a whole", name, times(n))
		}
	}
	if n := live.EvictedKeys - base.EvictedKeys; n > 0 {
		j.Mode = Vanished
		j.say("Redis evicted %d keys since the snapshot for lack of memory (maxmemory-policy %s)", n, live.Memory.MaxPolicy)
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
		j.say("this is another Redis process than at the snapshot (run id now %.8s…, at the snapshot %.8s…)", live.RunID, past.Before.RunID)
	}
	started := live.StartedAt()
	// Uptime counts whole seconds, so the start may be up to one later. All counters of a
	// recent process speak of the time since the snapshot.
	recent := !started.IsZero() && started.Add(time.Second).After(past.CreatedAt)
	switch {
	case past.continuedBy(live.Replication):
		j.Mode = Complete
		j.say("its replication history continues the snapshot's, at a later offset: it holds at least the snapshot's data")
	case !recent:
		// Neither what it loaded nor the age of its data says what became of the snapshot's.
		j.Mode, j.Unsure = Vanished, true
		if !started.IsZero() {
			j.say("it has been running since before the snapshot, like a replica that was promoted")
		}
		j.say("how much of the snapshot's data it ever had cannot be told")
	case live.startedEmpty():
		j.Mode, j.Empty = Older, true
		j.say("it started without loading any key")
	default:
		j.judgeWatermark(past.CreatedAt, live, watermark)
	}
	if j.Mode == Complete && recent {
		j.judgeCounts(Facts{}, live, true)
	}
}

// judgeWatermark compares the newest data that a restarted server came back with.
func (j *Judgement) judgeWatermark(taken time.Time, live Facts, watermark time.Time) {
	at := taken.UTC().Format(time.RFC3339)
	switch {
	case watermark.IsZero() && live.mayHaveLoaded():
		j.Mode, j.Unsure = Vanished, true
		j.say("it may have loaded data when it started, but none of a job that would tell how old that data was")
	case watermark.IsZero():
		j.Mode = Older
		j.say("nothing in it dates from before it started")
	case watermark.Before(taken):
		j.Mode = Older
		if live.Calls["flushall"]+live.Calls["flushdb"] == 0 { // else what was loaded is gone
			j.LoadedUntil = watermark.UTC()
		}
		j.say("the newest job data it came back with is from %s, before the snapshot (%s)", watermark.UTC().Format(time.RFC3339), at)
	default:
		j.Mode = Complete
		j.say("it came back with job data from %s, after the snapshot (%s)", watermark.UTC().Format(time.RFC3339), at)
	}
}

// startedEmpty reports whether the server says itself that it loaded nothing. It counts
// loaded keys since 7.0, and only those of an RDB file.
func (f *Facts) startedEmpty() bool {
	return f.countsLoaded() && f.RunID != "" && f.Persistence.LastLoadKeysLoaded == 0 && !f.Persistence.AOFEnabled &&
		f.Replication.Role == "master"
}

// mayHaveLoaded reports whether the server loaded something, or may have: what came out
// of an append-only file it does not tell.
func (f *Facts) mayHaveLoaded() bool {
	return f.Persistence.AOFEnabled || f.countsLoaded() && f.Persistence.LastLoadKeysLoaded > 0
}

func (f *Facts) countsLoaded() bool {
	major, _, _ := strings.Cut(f.Version, ".")
	n, err := strconv.Atoi(major)
	return err == nil && n >= 7
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
