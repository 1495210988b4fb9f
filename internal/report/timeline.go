package report

import (
	"fmt"
	"slices"
	"time"

	"rqvault/internal/lineage"
)

// timeline is a line with numbered moments on it, and what holds for the time between.
type timeline struct {
	Moments   []moment
	Stretches []stretch
	Gap       string // what the hatched stretch means; "" where there is none
	Text      string // all of it in words, for who cannot see it
}

type moment struct {
	Clock, Title, Detail string
	Day                  string  // where it is another than the moment's before
	X                    float64 // percent of the width
	at                   time.Time
}

// stretch lies between two moments.
type stretch struct {
	Kind        string // "kept", "filled" or "gap"
	X, Width    float64
	Middle, End float64
	Lasted      string
}

// The line's ends and the least distance of two moments, in percent of the width.
const (
	lineFrom, lineTo = 4.0, 96.0
	leastPart        = 0.16 // of the line, for each stretch
)

func (d *Data) timeline() *timeline {
	if d.Drill != nil {
		return nil
	}
	ms := d.moments()
	if len(ms) < 2 {
		return nil
	}
	t := &timeline{Moments: ms}
	t.place()
	for i := 1; i < len(ms); i++ {
		a, b := ms[i-1], ms[i]
		s := stretch{Kind: d.between(a.at, b.at), X: a.X, Width: b.X - a.X, Middle: (a.X + b.X) / 2, End: b.X, Lasted: lasted(b.at.Sub(a.at))}
		if s.Kind == "gap" {
			t.Gap = d.gap(b.at.Sub(a.at))
		}
		t.Stretches = append(t.Stretches, s)
	}
	for i, m := range ms {
		if i > 0 {
			t.Text += ", then "
		}
		t.Text += fmt.Sprintf("%s: %s", stamp(m.at), m.Title)
	}
	if t.Gap != "" {
		t.Text += ". " + t.Gap
	}
	return t
}

// moments lists what is known to have happened when, oldest first.
func (d *Data) moments() []moment {
	taken := d.Snapshot.Taken
	detail := counted(int(d.Snapshot.Jobs), "job") + ", " + counted(int(d.Snapshot.Keys), "key")
	ms := []moment{{at: taken, Title: "Snapshot taken", Detail: detail}}
	j := d.Lineage
	if j.Mode == lineage.Older && !j.LoadedUntil.IsZero() && j.LoadedUntil.Before(taken) {
		ms = append(ms, moment{at: j.LoadedUntil, Title: "Newest data that Redis came back with", Detail: "what is later was lost"})
	}
	if j.StartedAt.After(taken) {
		what := "with all up to the snapshot"
		switch {
		case j.Empty:
			what = "empty"
		case j.Mode == lineage.Older:
			what = "without its newest data"
		case j.Mode == lineage.Vanished:
			what = "with what, cannot be told"
		}
		ms = append(ms, moment{at: j.StartedAt, Title: "Redis started again", Detail: what})
	}
	if !d.Compared.IsZero() {
		ms = append(ms, moment{at: d.Compared, Title: "Compared with the snapshot", Detail: d.foundSomething()})
	}
	if !d.Restored.From.IsZero() {
		t := d.tally()
		ms = append(ms, moment{at: d.Restored.To, Title: "Restore ended",
			Detail: fmt.Sprintf("%s in %s", counted(t.back+t.repaired, d.noun()), lasted(d.Restored.To.Sub(d.Restored.From)))})
	}
	slices.SortStableFunc(ms, func(a, b moment) int { return a.at.Compare(b.at) })
	last := ""
	for i := range ms {
		ms[i].Clock = ms[i].at.UTC().Format("15:04:05")
		if day := ms[i].at.UTC().Format("2 Jan 2006"); day != last {
			ms[i].Day, last = day, day
		}
	}
	return ms
}

func (d *Data) foundSomething() string {
	n := 0
	for i := range d.Jobs {
		if planned(d.Jobs[i].Action) != "" {
			n++
		}
	}
	if n == 0 {
		return "nothing to do"
	}
	return counted(n, d.noun()) + " to see to"
}

// between says what is known of the time between two moments: whether live still has it
// (kept), the snapshot does (filled), or nothing is sure to (gap).
func (d *Data) between(from, to time.Time) string {
	j, taken := d.Lineage, d.Snapshot.Taken
	switch {
	case !to.After(taken):
		return "filled"
	case j.Mode == lineage.Older && j.StartedAt.After(taken) && !to.After(j.StartedAt):
		return "gap"
	case j.Mode == lineage.Vanished && !d.Compared.IsZero() && !to.After(d.Compared):
		return "gap"
	}
	return "kept"
}

// gap says what the time in no snapshot means.
func (d *Data) gap(t time.Duration) string {
	switch {
	case d.Lineage.Mode != lineage.Older:
		return "Somewhere in here keys were lost. When, Redis does not tell; what happened between the snapshot and then is in no snapshot."
	case d.Lineage.StartedAt.IsZero():
		return ""
	}
	return fmt.Sprintf("What happened in this time (%s) is in no snapshot: jobs enqueued then are gone, and jobs that ended then without a trace come back.", lasted(t))
}

// place spreads the moments: each stretch as long as it lasted, but never so short that
// the numbers touch.
func (t *timeline) place() {
	n := len(t.Moments)
	total := t.Moments[n-1].at.Sub(t.Moments[0].at).Seconds()
	x := lineFrom
	t.Moments[0].X = x
	for i := 1; i < n; i++ {
		part := 1 / float64(n-1)
		if total > 0 {
			free := 1 - leastPart*float64(n-1)
			part = leastPart + free*t.Moments[i].at.Sub(t.Moments[i-1].at).Seconds()/total
		}
		x += part * (lineTo - lineFrom)
		t.Moments[i].X = x
	}
}
