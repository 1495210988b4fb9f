package watch

import (
	"cmp"
	"slices"
	"time"
)

// maxQueues is how many queues of one source have series of their own. What the others
// hold is summed up under the name otherQueues.
const (
	maxQueues   = 50
	otherQueues = "other"
)

// Snapshot is the newest snapshot of a source.
type Snapshot struct {
	Source      string
	CreatedAt   time.Time
	Jobs        map[string]map[string]int64 // queue → status → jobs
	Keys        int64
	DumpBytes   int64
	StoredBytes int64
}

// Snapshot says which snapshot is the newest; one without a time, that there is none.
func (m *Metrics) Snapshot(s Snapshot) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.at(snapshotAt, s.CreatedAt, s.Source)
	m.set(snapshotKeys, float64(s.Keys), s.Source)
	m.set(snapshotDump, float64(s.DumpBytes), s.Source)
	m.set(snapshotStored, float64(s.StoredBytes), s.Source)
	sizes := map[string]int64{}
	for queue, by := range s.Jobs {
		for _, n := range by {
			sizes[queue] += n
		}
	}
	m.drop(snapshotJobs, s.Source)
	names := m.choose(s.Source, sizes)
	for queue, by := range s.Jobs {
		for status, n := range by {
			m.add(snapshotJobs, float64(n), s.Source, nameOf(names, queue), status)
		}
	}
}

// Stored says how many snapshots of a source there are, and their size.
func (m *Metrics) Stored(source string, snapshots int, bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.set(storedCount, float64(snapshots), source)
	m.set(storedBytes, float64(bytes), source)
}

// Verified says that the snapshot of that instant was read back, and whether it is whole.
func (m *Metrics) Verified(source string, createdAt time.Time, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.set(verifyOK, flag(ok), source)
	if ok {
		m.newest(verifiedAt, createdAt, source)
	}
}

// Drilled says that the snapshot of that instant was restored for practice, how long a
// recovery takes, and whether everything came back.
func (m *Metrics) Drilled(source string, createdAt time.Time, recovery time.Duration, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.set(drillOK, flag(ok), source)
	m.set(drillRecovery, recovery.Seconds(), source)
	if ok {
		m.newest(drilledAt, createdAt, source)
	}
}

// newest moves an instant forward only: older snapshots are verified in between.
func (m *Metrics) newest(f *family, t time.Time, source string) {
	if old, ok := m.get(f, source); ok && unix(t) < old {
		return
	}
	m.at(f, t, source)
}

// Diff says what became of the jobs, by verdict.
func (m *Metrics) Diff(source string, counts map[string]int64) {
	m.replace(diffJobs, source, counts)
}

// Fsck says how many of RQ's own rules are broken in live Redis, by severity.
func (m *Metrics) Fsck(source string, counts map[string]int64) {
	m.replace(fsckCounts, source, counts)
}

func (m *Metrics) replace(f *family, source string, counts map[string]int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drop(f, source)
	for label, n := range counts {
		m.set(f, float64(n), source, label)
	}
}

// Frozen says whether a wipe that was detected keeps retention from removing anything.
func (m *Metrics) Frozen(source string, on bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.set(frozen, flag(on), source)
}

// Live is what a look at live Redis found.
type Live struct {
	Source  string
	Up      bool // false: it did not answer, and the rest is unknown
	Queues  []Queue
	Workers int // that are alive
}

// Queue is one queue of live Redis.
type Queue struct {
	Name   string
	Jobs   int64     // ids that wait
	Oldest time.Time // when the job at the head was enqueued; zero if there is none
}

// Live says how live Redis and its queues are. While Redis is down nothing is said of them,
// rather than what was true before.
func (m *Metrics) Live(l Live) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.set(redisUp, flag(l.Up), l.Source)
	m.drop(queueJobs, l.Source)
	m.drop(queueOldest, l.Source)
	m.drop(workers, l.Source)
	if !l.Up {
		return
	}
	m.set(workers, float64(l.Workers), l.Source)
	sizes := map[string]int64{}
	for _, q := range l.Queues {
		sizes[q.Name] += q.Jobs
	}
	names := m.choose(l.Source, sizes)
	oldest := map[string]time.Time{}
	for _, q := range l.Queues {
		name := legible(nameOf(names, q.Name))
		m.add(queueJobs, float64(q.Jobs), l.Source, name)
		if was, ok := oldest[name]; !q.Oldest.IsZero() && (!ok || q.Oldest.Before(was)) {
			oldest[name] = q.Oldest
		}
	}
	for name, t := range oldest {
		m.at(queueOldest, t, l.Source, name)
	}
}

// choose returns the queues that have series of their own. One that has keeps it, so that a
// graph does not tear when another queue overtakes it; free places go to the longest.
func (m *Metrics) choose(source string, sizes map[string]int64) map[string]bool {
	chosen := m.named[source]
	if chosen == nil {
		chosen = map[string]bool{}
		m.named[source] = chosen
	}
	for name := range chosen {
		if _, there := sizes[name]; !there && !m.hasQueue(source, name) {
			delete(chosen, name) // nothing shows it any more
		}
	}
	var waiting []string
	for name := range sizes {
		if !chosen[name] {
			waiting = append(waiting, name)
		}
	}
	slices.SortFunc(waiting, func(a, b string) int {
		return cmp.Or(cmp.Compare(sizes[b], sizes[a]), cmp.Compare(a, b))
	})
	for _, name := range waiting[:min(len(waiting), max(0, maxQueues-len(chosen)))] {
		chosen[name] = true
	}
	return chosen
}

// hasQueue reports whether any series is about that queue.
func (m *Metrics) hasQueue(source, queue string) bool {
	for _, f := range []*family{snapshotJobs, queueJobs} {
		for _, s := range m.series[f.name] {
			if s.labels[0] == legible(source) && s.labels[1] == legible(queue) {
				return true
			}
		}
	}
	return false
}

func nameOf(chosen map[string]bool, queue string) string {
	if chosen[queue] {
		return queue
	}
	return otherQueues
}
