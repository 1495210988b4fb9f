package verify

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"rqvault/internal/job"
)

// signs gathers what one comparison saw of keys that vanished one by one from a server
// that ran on: states that no command of RQ leads to. Which key is gone tells nothing of
// others, so jobs that left no trace at all are looked at again in their light.
type signs struct {
	cut      map[int32]*sightings    // by database
	unlisted map[queueName]*unlisted // queued jobs that are in no list
	ended    map[JobKey]string       // jobs that must have ended, and which child says so
	dbs      map[int32]bool          // databases of which the snapshot has jobs
	again    map[int32]bool          // databases in which one of them was settled: they were cut once more
	// registries are those that jobs of the snapshot stood in.
	registries map[registryName]*lostRegistry
}

// sightings are jobs that show such a state. Few of them prove nothing: a worker that
// ends or retries a job while a person deletes it leaves its traces in pieces.
type sightings struct {
	jobs  int
	first string // in words
	sure  bool   // one is of an id that is used only once
}

// settled reports whether a restore since the snapshot had nothing to do about the job,
// and no key of its database can have vanished after that.
func (c *Context) settled(s *job.Row) bool { return c.Settled.has(s) && !c.again[s.DB] }

// unique reports whether an id has the form of a UUID, as RQ makes them: such an id never
// has a second job, of which what is seen could be the trace.
func unique(id string) bool {
	hex := strings.ReplaceAll(id, "-", "")
	return len(hex) == 32 && (len(id) == 32 || len(id) == 36) && strings.IndexFunc(hex, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'f') && (r < 'A' || r > 'F')
	}) < 0
}

type queueName struct {
	db    int32
	queue string
}

func (q queueName) compare(o queueName) int {
	return cmp.Or(cmp.Compare(q.db, o.db), cmp.Compare(q.queue, o.queue))
}

// unlisted holds the least positions of such jobs in the snapshot's list, in order: as
// many as dead workers can have taken from it, and one.
type unlisted struct {
	jobs int
	low  []int64
}

func newSigns() *signs {
	return &signs{cut: map[int32]*sightings{}, unlisted: map[queueName]*unlisted{}, ended: map[JobKey]string{}, dbs: map[int32]bool{}, again: map[int32]bool{}, registries: map[registryName]*lostRegistry{}}
}

// note looks at one job that both sides know something of, and reports whether it is such a
// sign itself.
func (c *Context) note(s, l *job.Row) bool {
	if c.signs == nil || !s.Exists {
		return false
	}
	sign := c.vanished(s, l)
	if sign != "" {
		if c.signs.cut[s.DB] == nil {
			c.signs.cut[s.DB] = &sightings{first: sign}
		}
		c.signs.cut[s.DB].jobs++
		c.signs.cut[s.DB].sure = c.signs.cut[s.DB].sure || unique(s.ID)
		c.signs.again[s.DB] = c.signs.again[s.DB] || c.Settled.has(s)
	}
	c.noteRegistry(s, l)
	c.noteUnlisted(s, l)
	c.noteChild(s, l)
	return sign != ""
}

// vanished says which key of the job is gone that RQ would not have removed, "" if none.
// An id may have had several jobs: what an earlier one left in a registry tells nothing.
func (c *Context) vanished(s, l *job.Row) string {
	if l.Exists || l.Stub {
		return ""
	}
	now := float64(c.Now.UnixMilli()) / 1e3
	for _, p := range l.Places {
		kept := p.Score < 0 || p.Score > now+slack || math.IsInf(p.Score, 1)
		ended := p.Kind == job.InFinished && s.Status == job.Finished || p.Kind == job.InFailed && (s.Status == job.Failed || s.Status == job.Stopped)
		ended = ended || !s.Status.Ended() && (p.Kind == job.InFinished || p.Kind == job.InFailed) && s.Place(p.Kind) == nil
		switch {
		case kept && ended:
			return fmt.Sprintf("job %s is listed as %s, and its hash went before its time", s.ID, p.Kind)
		case p.Kind == job.InQueue && s.Status == job.Queued && s.ExpireAt == 0 && s.TTL == 0 && !c.recordless(s):
			return fmt.Sprintf("job %s is listed in queue %s, and its hash, which has no expiry, is gone", s.ID, p.Queue)
		}
	}
	return ""
}

// noteRegistry counts jobs whose registry has lost them. A person may take one out by hand;
// where the whole registry is gone, and had several, nobody did.
func (c *Context) noteRegistry(s, l *job.Row) {
	for _, p := range l.Places {
		c.signs.registry(registryName{s.DB, p.Kind, p.Queue}).listed = true
	}
	if !l.Exists || len(l.Places) > 0 || l.CreatedAt != s.CreatedAt || l.Version() != s.Version() {
		return
	}
	if l.ExpireAt != 0 && l.ExpireAt <= c.Now.Add(slack*time.Second).UnixMilli() {
		return
	}
	for _, kind := range c.Schema.Homes(l.Status) {
		if p := s.Place(kind); p != nil && !kind.Ordered() && kind != job.InWip {
			r := c.signs.registry(registryName{s.DB, kind, p.Queue})
			if r.jobs++; r.first == "" {
				r.first = fmt.Sprintf("job %s is %s, and the registry that had it is gone", s.ID, l.Status)
			}
		}
	}
}

type registryName struct {
	db    int32
	kind  job.PlaceKind
	queue string
}

func (r registryName) compare(o registryName) int {
	return cmp.Or(cmp.Compare(r.db, o.db), cmp.Compare(r.kind, o.kind), cmp.Compare(r.queue, o.queue))
}

// lostRegistry is what is known of a registry that jobs of the snapshot stood in.
type lostRegistry struct {
	sightings
	listed bool // live has it
}

func (s *signs) registry(name registryName) *lostRegistry {
	if s.registries[name] == nil {
		s.registries[name] = &lostRegistry{}
	}
	return s.registries[name]
}

// slack is by how many seconds a registry's score and a key's expiry may differ.
const slack = 5

// noteUnlisted counts queued jobs whose list has lost them.
func (c *Context) noteUnlisted(s, l *job.Row) {
	p := s.Place(job.InQueue)
	if p == nil || !l.Exists || l.Status != job.Queued || len(l.Places) > 0 || l.Version() != s.Version() {
		return
	}
	k := queueName{s.DB, p.Queue}
	u := c.signs.unlisted[k]
	if u == nil {
		u = &unlisted{}
		c.signs.unlisted[k] = u
	}
	u.jobs++
	at, _ := slices.BinarySearch(u.low, p.Position)
	u.low = slices.Insert(u.low, at, p.Position)
	u.low = u.low[:min(len(u.low), c.takeable()+1)]
}

// takeable is how many jobs may be in pieces because workers had them in hand.
func (c *Context) takeable() int { return len(c.Workers) + 1 }

// noteChild remembers the parent of a child that waited for it alone and does not wait
// any more: only that parent's end can have started it. A child that a restore put back
// proves nothing, since that may have taken a missing parent for one that ended.
func (c *Context) noteChild(s, l *job.Row) {
	if s.Status != job.Deferred || !l.Exists || l.CreatedAt != s.CreatedAt || len(s.Parents) != 1 {
		return
	}
	switch l.Status {
	case job.Queued, job.Started, job.Finished, job.Failed:
	default:
		return
	}
	if c.signed(JobKey{s.DB, s.ID}) || !c.lossy(s.DB) && !c.Cut[s.DB] {
		return
	}
	c.signs.ended[JobKey{s.DB, s.Parents[0]}] = s.ID
}

func (c *Context) signed(k JobKey) bool {
	return c.Restored != nil && c.Restored(k) || c.Halfway != nil && c.Halfway(k)
}

// cuts returns the databases that lost single keys, with the reasons. A worker that dies
// between its queue and its job leaves one id in no list, and one whose job is deleted
// under its hands leaves one sign, so only more than those count.
func (c *Context) cuts() (dbs, sure map[int32]bool, reasons []string) {
	dbs, sure = map[int32]bool{}, map[int32]bool{}
	say := func(db int32, certain bool, format string, args ...any) {
		sure[db] = sure[db] || certain
		if !dbs[db] {
			dbs[db] = true
			reasons = append(reasons, "keys vanished that RQ never removes by itself: "+fmt.Sprintf(format, args...))
		}
	}
	for _, db := range slices.Sorted(maps.Keys(c.signs.cut)) {
		if seen := c.signs.cut[db]; seen.sure || seen.jobs > c.takeable() {
			say(db, seen.sure, "%s; and %d more like it", seen.first, seen.jobs-1)
		}
	}
	for _, k := range slices.SortedFunc(maps.Keys(c.signs.registries), registryName.compare) {
		r := c.signs.registries[k]
		if r.jobs > c.takeable() && !r.listed {
			say(k.db, true, "%s; and %d more like it", r.first, r.jobs-1)
		}
	}
	for _, k := range slices.SortedFunc(maps.Keys(c.signs.unlisted), queueName.compare) {
		u := c.signs.unlisted[k]
		if u.jobs > c.takeable() {
			say(k.db, true, "%d jobs of queue %s are queued, and no list has them", u.jobs, k.queue)
		}
	}
	return dbs, sure, reasons
}

// behind reports whether the job stood behind one that still waited when their list
// vanished: it cannot have been taken before, and not after.
func (c *Context) behind(s *job.Row) bool {
	p := s.Place(job.InQueue)
	if p == nil {
		return false
	}
	u := c.gone[queueName{s.DB, p.Queue}]
	return u != nil && u.jobs > c.takeable() && p.Position > u.low[len(u.low)-1]
}

// defaultResultTTL is how long RQ keeps a job that succeeded, where it does not say.
const defaultResultTTL = 500

// recorded reports whether live would still have the job's record, had it ended since the
// snapshot. One that keeps no record of a success never tells.
func (c *Context) recorded(s *job.Row) bool {
	if s.Status.Ended() {
		return s.ExpireAt == 0 || s.ExpireAt > c.Now.UnixMilli()
	}
	ttl := int64(defaultResultTTL)
	if s.HasResultTTL {
		ttl = s.ResultTTL
	}
	return ttl <= 0 || c.Taken.Unix()+ttl > c.Now.Unix()
}

// recordless reports whether the job leaves nothing behind when it succeeds.
func (c *Context) recordless(s *job.Row) bool {
	return s.HasResultTTL && s.ResultTTL == 0 && !s.Status.Ended()
}

// judgeCut is for a job that is gone without a trace from a database that lost keys.
func (c *Context) judgeCut(s *job.Row) Finding {
	const without = "keys vanished from this database"
	switch {
	case c.behind(s):
		return c.decide(s, Lost, "%s, and jobs before it in its queue still waited then: nobody had taken it", without)
	case !c.recorded(s):
		return finding(s, Completed, None, "gone as ended jobs go, and so long after the snapshot that its record would be gone too")
	case c.recordless(s) && !c.sure[s.DB]:
		return finding(s, Uncertain, Hold, "%s, and this job keeps no record of a success: it may have ended", without).by(ByAssume)
	case s.Status == job.Started:
		return c.judgeStarted(s)
	}
	return c.decide(s, Uncertain, "%s, and this job is gone without the record that its end would have left", without)
}
