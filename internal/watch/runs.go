package watch

import (
	"slices"
	"time"
)

// Run is one run of a task that has ended.
type Run struct {
	Source         string
	Task           Task
	Started, Ended time.Time
	Reason         Reason  // "" for success
	Phases         []Phase // what it spent its time on, for example dump, index, upload
}

// Phase is one part of a run. Its name is a word of the program's, never of somebody's data.
type Phase struct {
	Name  string
	Took  time.Duration
	Bytes int64
}

// Expect says that a task is scheduled, and how old its last success may become; since when
// counts only the first time. The counters of its runs start at zero, so that the first
// failure is seen as a rise.
func (m *Metrics) Expect(source string, task Task, limit time.Duration, since time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, known := m.get(expectedSince, source, string(task)); !known {
		m.at(expectedSince, since, source, string(task))
	}
	m.set(ageLimit, limit.Seconds(), source, string(task))
	for _, result := range []string{"ok", "failed", "aborted"} {
		m.add(runs, 0, source, string(task), result)
	}
	for _, r := range Reasons {
		if r != Interrupted && r != LeaseLost {
			m.add(runFailures, 0, source, string(task), string(r))
		}
	}
	m.add(runSeconds, 0, source, string(task))
	m.add(runActive, 0, source, string(task))
}

// NextRun says when a task runs next; the zero time, that it will not.
func (m *Metrics) NextRun(source string, task Task, at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.at(nextRun, at, source, string(task))
}

// RunStarted says that a run of the task goes on from now.
func (m *Metrics) RunStarted(source string, task Task, at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.set(runActive, 1, source, string(task))
	m.at(runStart, at, source, string(task))
}

// RunEnded says how a run ended. One that was interrupted, or lost its lease to another
// process, is aborted: it neither succeeded nor failed.
func (m *Metrics) RunEnded(r Run) {
	m.mu.Lock()
	defer m.mu.Unlock()
	source, task := r.Source, string(r.Task)
	m.set(runActive, 0, source, task)
	m.at(runEnd, r.Ended, source, task)
	m.set(runDuration, r.Ended.Sub(r.Started).Seconds(), source, task)
	m.add(runSeconds, max(0, r.Ended.Sub(r.Started).Seconds()), source, task)
	m.drop(phaseDuration, source, task)
	m.drop(phaseBytes, source, task)
	for _, p := range r.Phases {
		m.set(phaseDuration, p.Took.Seconds(), source, task, p.Name)
		m.set(phaseBytes, float64(p.Bytes), source, task, p.Name)
	}
	switch reason := known(r.Reason); reason {
	case "":
		m.add(runs, 1, source, task, "ok")
		m.set(runOK, 1, source, task)
		m.at(success, r.Ended, source, task)
	case Interrupted, LeaseLost:
		m.add(runs, 1, source, task, "aborted")
	default:
		m.add(runs, 1, source, task, "failed")
		m.add(runFailures, 1, source, task, string(reason))
		m.set(runOK, 0, source, task)
	}
}

// known keeps the number of reasons bounded.
func known(r Reason) Reason {
	if r != "" && !slices.Contains(Reasons, r) {
		return Other
	}
	return r
}

// Succeeded says when a task last succeeded, as the store knows from before this process.
func (m *Metrics) Succeeded(source string, task Task, at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.at(success, at, source, string(task))
	if !at.IsZero() {
		m.set(runOK, 1, source, string(task))
	}
}

// Forget drops all that is known of a source that is not configured any more.
func (m *Metrics) Forget(source string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, f := range families {
		if len(f.labels) > 0 && f.labels[0] == "source" {
			m.drop(f, source)
		}
	}
	delete(m.named, source)
}

// StandDown drops what only the leader measures of a source, so that what it knew does not
// stay on while another process knows better. What this process counted stays.
func (m *Metrics) StandDown(source string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, f := range families {
		if !f.lasting {
			m.drop(f, source)
		}
	}
	delete(m.named, source)
}
