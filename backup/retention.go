package backup

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"rqvault/internal/snapshot"
)

// Keep is a retention policy for the snapshots of one source. Each count keeps the best
// snapshot of so many of the newest hours, days and so on that have any. The zero value
// is no policy, and keeps everything.
type Keep struct {
	Last    int // the newest ones, as they are
	Hourly  int
	Daily   int
	Weekly  int // ISO weeks, which begin on Monday
	Monthly int
	Yearly  int
	// Within keeps all that are at most so much older than the newest. It counts from that
	// one and not from now, so that a schedule that stopped does not eat its snapshots.
	Within time.Duration
	// Zone is where days begin; nil is UTC.
	Zone *time.Location
}

// ErrKeep: a policy asks for something impossible.
var ErrKeep = errors.New("impossible retention policy")

// Empty reports whether nothing is asked for.
func (k Keep) Empty() bool {
	k.Zone = nil
	return k == Keep{}
}

// Validate reports counts and durations below zero.
func (k Keep) Validate() error {
	for _, n := range []int{k.Last, k.Hourly, k.Daily, k.Weekly, k.Monthly, k.Yearly, int(min(k.Within, 0))} {
		if n < 0 {
			return fmt.Errorf("%w: %s: a count of snapshots, or a duration, is at least 0", ErrKeep, k)
		}
	}
	return nil
}

// String writes the policy for people: "last 3, daily 7, within 48h0m0s".
func (k Keep) String() string {
	var parts []string
	add := func(name string, n int) {
		if n != 0 {
			parts = append(parts, fmt.Sprintf("%s %d", name, n))
		}
	}
	add("last", k.Last)
	for _, p := range k.periods() {
		add(p.name, p.count)
	}
	if k.Within != 0 {
		parts = append(parts, "within "+k.Within.String())
	}
	if parts == nil {
		return "keep everything"
	}
	if k.Zone != nil && k.Zone != time.UTC {
		parts = append(parts, "days of "+k.Zone.String())
	}
	return strings.Join(parts, ", ")
}

// Snapshot is what retention asks of a stored one.
type Snapshot struct {
	ID        snapshot.ID
	CreatedAt time.Time
	Verified  bool // read back whole, or drilled, and nothing has failed since
	Damaged   bool // the last verify failed, or its manifest cannot be read
	Atomic    bool
	Pinned    bool
	// Held says why it may not go whatever the policy says (a lock of the store, an outage
	// whose losses may not be restored); "" if nothing does.
	Held string
}

// Choice is what becomes of a snapshot, and why.
type Choice struct {
	ID      snapshot.ID `json:"id"`
	Keep    bool        `json:"keep"`
	Reasons []string    `json:"reasons"`
}

// Choose decides for each snapshot of one source whether a policy keeps it. The choices
// are in the order of age, oldest first. Nothing but its arguments counts.
//
//   - One dated after now is kept, fills no slot and is never the newest.
//   - Of each hour, day and so on, the newest of the best stays: whole before damaged,
//     verified before unverified, of one instant before key by key. Damaged ones count as
//     "last" only where there are no others.
//   - Where a count is larger than the periods there are, the oldest snapshot stays too:
//     it would have been the one of an earlier period.
//   - The newest, and the newest that was verified, stay under any policy, and so do those
//     that are pinned or held.
func Choose(keep Keep, all []Snapshot, now time.Time) []Choice {
	c := newChooser(all, now)
	if keep.Empty() {
		for _, s := range c.past {
			c.stay(s, "no policy")
		}
	}
	c.keepLast(keep.Last)
	for _, p := range keep.periods() {
		c.keepPeriods(p, keep.zone())
	}
	c.keepWithin(keep.Within)
	return c.choices()
}

func (k Keep) zone() *time.Location {
	if k.Zone == nil {
		return time.UTC
	}
	return k.Zone
}

// period is a rule that keeps one snapshot of each of the newest count stretches of time.
type period struct {
	name  string
	count int
	of    func(time.Time) string // the same for all instants of a stretch
}

func (k Keep) periods() []period {
	layout := func(l string) func(time.Time) string { return func(t time.Time) string { return t.Format(l) } }
	return []period{
		{"hourly", k.Hourly, layout("2006-01-02 15 -0700")}, // an hour that a clock repeats is two
		{"daily", k.Daily, layout("2006-01-02")},
		{"weekly", k.Weekly, func(t time.Time) string {
			y, w := t.ISOWeek()
			return fmt.Sprintf("%d-W%02d", y, w)
		}},
		{"monthly", k.Monthly, layout("2006-01")},
		{"yearly", k.Yearly, layout("2006")},
	}
}

// chooser collects the reasons to keep.
type chooser struct {
	past    []Snapshot // newest first, none from the future
	future  []Snapshot
	reasons map[snapshot.ID][]string
}

func newChooser(all []Snapshot, now time.Time) *chooser {
	c := &chooser{reasons: map[snapshot.ID][]string{}}
	sorted := slices.SortedFunc(slices.Values(all), func(a, b Snapshot) int {
		return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), cmp.Compare(b.ID, a.ID))
	})
	for _, s := range sorted {
		if s.CreatedAt.After(now) {
			c.future = append(c.future, s)
			c.stay(s, "dated in the future")
		} else {
			c.past = append(c.past, s)
		}
	}
	if len(c.past) > 0 {
		c.stay(c.past[0], "newest")
	}
	if i := slices.IndexFunc(c.past, Snapshot.proven); i >= 0 {
		c.stay(c.past[i], "newest verified")
	}
	for _, s := range sorted {
		if s.Pinned {
			c.stay(s, "pinned")
		}
		if s.Held != "" {
			c.stay(s, s.Held)
		}
	}
	return c
}

func (s Snapshot) proven() bool { return s.Verified && !s.Damaged }

// worth orders snapshots of one stretch of time: the greater is kept.
func (s Snapshot) worth() int {
	switch {
	case s.Damaged:
		return 0
	case s.Verified && s.Atomic:
		return 4
	case s.Verified:
		return 3
	case s.Atomic:
		return 2
	}
	return 1
}

func (c *chooser) stay(s Snapshot, reason string) {
	c.reasons[s.ID] = append(c.reasons[s.ID], reason)
}

func (c *chooser) keepLast(n int) {
	whole := slices.DeleteFunc(slices.Clone(c.past), func(s Snapshot) bool { return s.Damaged })
	damaged := slices.DeleteFunc(slices.Clone(c.past), func(s Snapshot) bool { return !s.Damaged })
	for i, s := range append(whole, damaged...) {
		if i == n {
			return
		}
		c.stay(s, fmt.Sprintf("last %d", n))
	}
}

// keepPeriods keeps the best of each of the newest stretches, and the oldest snapshot if
// there are fewer stretches than asked for.
func (c *chooser) keepPeriods(p period, zone *time.Location) {
	left := p.count
	var best Snapshot
	for i := 0; i < len(c.past) && left > 0; left-- {
		of := p.of(c.past[i].CreatedAt.In(zone))
		best = c.past[i]
		for ; i < len(c.past) && p.of(c.past[i].CreatedAt.In(zone)) == of; i++ {
			if c.past[i].worth() > best.worth() {
				best = c.past[i]
			}
		}
		c.stay(best, p.name+" "+of)
	}
	if left > 0 && len(c.past) > 0 {
		if oldest := c.oldest(); oldest.ID != best.ID {
			c.stay(oldest, p.name+", oldest")
		}
	}
}

// oldest is the oldest that is not damaged, or the oldest where all are.
func (c *chooser) oldest() Snapshot {
	for _, s := range slices.Backward(c.past) {
		if !s.Damaged {
			return s
		}
	}
	return c.past[len(c.past)-1]
}

func (c *chooser) keepWithin(d time.Duration) {
	if d == 0 || len(c.past) == 0 {
		return
	}
	since := c.past[0].CreatedAt.Add(-d)
	for _, s := range c.past {
		if !s.CreatedAt.Before(since) {
			c.stay(s, "within "+shortly(d))
		}
	}
}

// shortly writes a duration without the parts that are zero.
func shortly(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// choices lists what became of each, oldest first.
func (c *chooser) choices() []Choice {
	out := []Choice{}
	for _, s := range slices.Backward(slices.Concat(c.future, c.past)) {
		reasons := c.reasons[s.ID]
		choice := Choice{ID: s.ID, Keep: len(reasons) > 0, Reasons: reasons}
		if !choice.Keep {
			choice.Reasons = []string{"no rule keeps it"}
			if s.Damaged {
				choice.Reasons = []string{"damaged, and no rule keeps it"}
			}
		}
		out = append(out, choice)
	}
	return out
}
