package alarm

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"
)

// State is what a notice says of its alarm.
type State string

// The states. An alarm that got worse fires again.
const (
	Firing   State = "firing"
	Repeated State = "repeated" // it still holds
	Resolved State = "resolved"
)

// Notice is one message about an alarm.
type Notice struct {
	State State
	Alarm Alarm
	Peak  Severity  // the worst that the alarm was: who heard of it then hears that it is over
	At    time.Time // when it was decided
}

// ID tells a notice from every other. It is the same each time that one is sent again, so
// that a receiver can drop what it has.
func (n Notice) ID() string {
	text := fmt.Sprintf("%s\n%s\n%s\n%d\n%d", n.Alarm.Name, n.Alarm.Source, n.State, n.Alarm.Since.UnixNano(), n.At.UnixNano())
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:16])
}

// Policy is how often people hear of one alarm. Zero values are replaced by the defaults.
type Policy struct {
	Repeat time.Duration // how long until one that stays is told again (4 hours)
	Settle time.Duration // how long one has to be gone until it is over (5 minutes)
}

func (p Policy) withDefaults() Policy {
	if p.Repeat <= 0 {
		p.Repeat = 4 * time.Hour
	}
	if p.Settle <= 0 {
		p.Settle = 5 * time.Minute
	}
	return p
}

// Book remembers which alarms people have heard of. It is a value: Turn gives a new one and
// leaves the old one as it is. It can be kept as JSON.
type Book struct {
	Entries []Entry `json:"entries"`
}

// Entry is one alarm that people have heard of.
type Entry struct {
	Alarm Alarm     `json:"alarm"`
	Peak  Severity  `json:"peak"`
	Told  time.Time `json:"told"`          // when people last heard of it
	Gone  time.Time `json:"gone,omitzero"` // since when it is gone; zero: it holds
}

// Turn writes down which alarms hold now and returns what people must hear. An alarm that is
// gone for less than the policy's Settle and comes back is the same one and makes no noise.
func (b Book) Turn(now time.Time, current []Alarm, policy Policy) (Book, []Notice) {
	policy = policy.withDefaults()
	var next Book
	var notices []Notice
	tell := func(state State, e *Entry) {
		e.Told = now
		notices = append(notices, Notice{State: state, Alarm: e.Alarm, Peak: e.Peak, At: now})
	}
	for _, a := range sorted(slices.Clone(current)) {
		if _, twice := next.find(a); twice {
			continue
		}
		e, known := b.find(a)
		if known && a.Since.IsZero() {
			a.Since = e.Alarm.Since
		} else if a.Since.IsZero() {
			a.Since = now
		}
		worse := a.Severity > e.Peak
		e.Alarm, e.Peak, e.Gone = a, max(e.Peak, a.Severity), time.Time{}
		switch {
		case !known || worse:
			tell(Firing, &e)
		case due(e.Told, now, policy.Repeat):
			tell(Repeated, &e)
		}
		next.Entries = append(next.Entries, e)
	}
	for _, e := range b.Entries {
		if _, holds := next.find(e.Alarm); holds {
			continue
		}
		if e.Gone.IsZero() {
			e.Gone = now
		}
		if due(e.Gone, now, policy.Settle) {
			tell(Resolved, &e)
			continue
		}
		next.Entries = append(next.Entries, e)
	}
	slices.SortFunc(next.Entries, func(a, b Entry) int { return byKey(a.Alarm, b.Alarm) })
	return next, notices
}

// due reports whether that much time has passed. A clock that was set back since makes it
// due too: better told twice than never.
func due(from, now time.Time, after time.Duration) bool {
	return now.Sub(from) >= after || now.Before(from)
}

func (b Book) find(a Alarm) (Entry, bool) {
	i := slices.IndexFunc(b.Entries, func(e Entry) bool { return e.Alarm.Name == a.Name && e.Alarm.Source == a.Source })
	if i < 0 {
		return Entry{}, false
	}
	return b.Entries[i], true
}

// Active lists the alarms that hold, in their order.
func (b Book) Active() []Alarm {
	var active []Alarm
	for _, e := range b.Entries {
		if e.Gone.IsZero() {
			active = append(active, e.Alarm)
		}
	}
	return active
}
