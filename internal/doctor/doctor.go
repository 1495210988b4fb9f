// Package doctor judges the health of a Redis that holds RQ's queues: observed facts go
// in, checks come out. It asks nobody anything; whoever gathers the facts says of each
// that is missing why it could not be read, and its check then says so.
package doctor

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Level is how a check came out.
type Level string

// The levels. Unknown: the facts could not be read, as where a managed Redis refuses a
// command; it is no finding. Warn: it will hurt, or it hurts a little. Fail: work stands
// still or is lost.
const (
	OK      Level = "ok"
	Unknown Level = "unknown"
	Warn    Level = "warn"
	Fail    Level = "fail"
)

// Check is what became of one check.
type Check struct {
	Name   string         `json:"name"`
	Level  Level          `json:"level"`
	What   string         `json:"what"`             // what was found and what it means, one sentence
	Next   string         `json:"next,omitempty"`   // the command to type, with $REDIS for the server's URL
	Values map[string]any `json:"values,omitempty"` // what it was judged by
}

// Step is one thing to do.
type Step struct {
	Do      string `json:"do"`
	Command string `json:"command"`
}

// Report is one examination.
type Report struct {
	Headline string // the state in one sentence
	Steps    []Step // what to do when Redis does not answer, in order
	Checks   []Check
}

// Findings is how many checks ask for attention.
func (r *Report) Findings() int {
	n := 0
	for i := range r.Checks {
		if r.Checks[i].Level == Warn || r.Checks[i].Level == Fail {
			n++
		}
	}
	return n
}

// Facts is everything that was observed. A part that is nil was not looked at: Redis
// was not reached, or runs elsewhere, or no store was named.
type Facts struct {
	At     time.Time // by our clock
	Reach  Reach
	Server *Server
	Host   *Host
	Log    *Log
	Queues *Queues
	Store  *Store
	Limits Limits
}

// Limits are what people may choose.
type Limits struct {
	MaxWait time.Duration // how long a job may wait in a queue
	MaxAge  time.Duration // how old the last snapshot, and the last verified one, may be
}

// Fields are named values as Redis tells them.
type Fields map[string]string

// finding is what one check found. Without a level there was nothing to check.
type finding struct {
	level  Level
	what   string
	next   string // instead of the check's own next command
	values map[string]any
}

func found(level Level, format string, args ...any) finding {
	return finding{level: level, what: fmt.Sprintf(format, args...)}
}

func ok(format string, args ...any) finding      { return found(OK, format, args...) }
func unknown(format string, args ...any) finding { return found(Unknown, format, args...) }
func warn(format string, args ...any) finding    { return found(Warn, format, args...) }
func fail(format string, args ...any) finding    { return found(Fail, format, args...) }

func (f finding) do(next string) finding { f.next = next; return f }

func (f finding) with(name string, value any) finding {
	if f.values == nil {
		f.values = map[string]any{}
	}
	f.values[name] = value
	return f
}

// Judge examines the facts, problems first, each group in the order of the outage: first
// whether Redis can be reached, last whether there is a snapshot.
func Judge(f Facts) Report {
	var r Report
	for _, d := range Definitions {
		if !d.applies(&f) {
			continue
		}
		got := d.judge(&f)
		if got.level == "" {
			continue
		}
		c := Check{Name: d.Name, Level: got.level, What: got.what, Values: got.values}
		if got.level == Warn || got.level == Fail {
			c.Next = cmp.Or(got.next, d.Next)
		}
		r.Checks = append(r.Checks, c)
	}
	slices.SortStableFunc(r.Checks, func(a, b Check) int { return cmp.Compare(rank[a.Level], rank[b.Level]) })
	r.Headline, r.Steps = f.headline(&r)
	return r
}

var rank = map[Level]int{Fail: 0, Warn: 1, Unknown: 2, OK: 3}

// headline says the worst in one sentence.
func (f *Facts) headline(r *Report) (string, []Step) {
	if why, known := causes[f.Reach.Cause]; known {
		return fmt.Sprintf(why.headline, f.Reach.Where), why.steps
	}
	count := map[Level]int{}
	for _, c := range r.Checks {
		count[c.Level]++
	}
	switch {
	case f.Server != nil && f.Server.loading():
		return "Redis is up, and still loads its data: nothing works until it has", nil
	case count[Fail] > 0:
		return fmt.Sprintf("Redis answers, but it is not well: %d of %d checks fail, %d warn", count[Fail], len(r.Checks), count[Warn]), nil
	case count[Warn] > 0:
		return fmt.Sprintf("Redis works; %d of %d checks warn", count[Warn], len(r.Checks)), nil
	case count[Unknown] > 0:
		return fmt.Sprintf("nothing wrong was found; %d of %d checks cannot tell", count[Unknown], len(r.Checks)), nil
	}
	return fmt.Sprintf("all is well: %d checks", len(r.Checks)), nil
}
