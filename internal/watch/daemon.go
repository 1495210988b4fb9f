package watch

import (
	"time"

	"rqvault/internal/alarm"
)

// Store says whether a store answered.
func (m *Metrics) Store(name string, up bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.set(storeUp, flag(up), name)
}

// Lease says whether this process leads, and how often the lease has changed hands.
func (m *Metrics) Lease(name string, leads bool, gen int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before, _ := m.get(leading, name)
	m.add(leaseLost, 0, name)
	if before == 1 && !leads {
		m.add(leaseLost, 1, name)
	}
	m.set(leading, flag(leads), name)
	m.set(generation, float64(gen), name)
}

// ConfigReloaded says whether the configuration could be read. If not, the one from before
// stays in force.
func (m *Metrics) ConfigReloaded(ok bool, at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.set(configOK, flag(ok))
	if ok {
		m.at(configAt, at)
	}
}

// Alarms says which alarms hold for some sources.
func (m *Metrics) Alarms(sources []string, active []alarm.Alarm) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range sources {
		m.drop(alarms, s)
	}
	for _, a := range active {
		m.set(alarms, 1, a.Source, string(a.Name), a.Severity.String())
	}
}

// Result is what became of one attempt to send a message.
type Result string

// The results. What failed is tried again; what was dropped is not.
const (
	Sent    Result = "ok"
	Failed  Result = "failed"
	Dropped Result = "dropped"
)

// Message says what became of an attempt to reach a target, named as in the configuration.
func (m *Metrics) Message(target string, result Result, at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range []Result{Sent, Failed, Dropped} {
		m.add(sent, flag(r == result), target, string(r))
	}
	if result == Sent {
		m.at(sentSuccess, at, target)
	}
}
