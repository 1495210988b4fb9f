package verify

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"rqvault/internal/job"
	"rqvault/internal/lineage"
)

// evidence lists what a verdict rests on, in words: the snapshot's side, then live's,
// then what is known of the server. Either row may be nil.
func (c *Context) evidence(s, l *job.Row) []string {
	var all []string
	if s != nil && s.Exists {
		all = append(all, "snapshot: "+state(s)+standing(s))
		if s.ExpireAt != 0 {
			all = append(all, "snapshot: its own expiry is "+clock(s.ExpireAt*1000))
		}
	}
	all = append(all, c.liveSide(s, l)...)
	if s != nil && (l == nil || !l.Exists) {
		all = append(all, c.ground(s.DB))
	}
	return all
}

// liveSide is what live knows of the job.
func (c *Context) liveSide(s, l *job.Row) []string {
	if l == nil {
		return []string{"live: no hash, no id in any list or registry, no results"}
	}
	var all []string
	switch {
	case l.Exists && s != nil && s.Exists:
		all = append(all, fmt.Sprintf("live: %s%s; last touched %s, in the snapshot %s", state(l), standing(l), clock(l.Version()), clock(s.Version())))
	case l.Exists:
		all = append(all, "live: "+state(l)+standing(l))
	case l.Stub:
		all = append(all, "live: a hash without a job in it, such as a worker's heartbeat leaves"+standing(l))
	default:
		all = append(all, "live: no hash"+standing(l))
	}
	if l.ResultAt != 0 {
		all = append(all, fmt.Sprintf("live: its newest result is a %s of %s", resultWord(l.ResultType), clock(l.ResultAt*1000)))
	}
	if l.Part(job.ExecutionsPart) != nil {
		all = append(all, "live: a worker has signed for a run of it")
	}
	return all
}

// state says what a hash says: the status and since when.
func state(r *job.Row) string {
	text := string(r.Status)
	if text == "" {
		text = "without a status"
	}
	for _, t := range []struct {
		word string
		at   int64
	}{{"ended", r.EndedAt}, {"started", r.StartedAt}, {"enqueued", r.EnqueuedAt}, {"created", r.CreatedAt}} {
		if t.at != 0 {
			text += ", " + t.word + " " + clock(t.at)
			break
		}
	}
	switch {
	case r.Status == job.Started && r.Worker != "":
		text += " by worker " + r.Worker
	case r.Status == job.Deferred && len(r.Parents) > 0:
		text += ", waits for " + some(r.Parents)
	}
	return text
}

// namesShown bounds how many ids one piece of evidence names.
const namesShown = 5

func some(ids []string) string {
	if len(ids) > namesShown {
		return fmt.Sprintf("%s and %d more", strings.Join(ids[:namesShown], ", "), len(ids)-namesShown)
	}
	return strings.Join(ids, ", ")
}

// standing says where an id stands.
func standing(r *job.Row) string {
	if len(r.Places) == 0 {
		return "; its id stands nowhere"
	}
	var at []string
	for _, p := range r.Places[:min(len(r.Places), namesShown)] {
		at = append(at, placeWords(&p))
	}
	return "; its id stands in " + strings.Join(at, ", ")
}

func placeWords(p *job.Place) string {
	switch {
	case p.Kind == job.InQueue:
		return fmt.Sprintf("queue %s as number %d", p.Queue, p.Position+1)
	case p.Kind.Ordered():
		return fmt.Sprintf("the %s list of %s", p.Kind, p.Queue)
	case p.Kind == job.InScheduled && math.Abs(p.Score) < 1e11:
		return fmt.Sprintf("%s of %s, due %s", p.Kind, p.Queue, clock(int64(p.Score*1e6)))
	}
	return fmt.Sprintf("%s of %s", p.Kind, p.Queue)
}

func resultWord(kind int32) string {
	if w, ok := map[int32]string{1: "success", 2: "failure", 4: "retry", 5: "last failure"}[kind]; ok {
		return w
	}
	return "result of an unknown kind"
}

// ground says what is known of the data that a job is absent from.
func (c *Context) ground(db int32) string {
	switch {
	case c.Lineage.Mode == lineage.Older:
		if u := c.Lineage.LoadedUntil; !u.IsZero() {
			return "server: its data came from before the snapshot, and reaches up to " + clock(u.UnixMicro())
		}
		return "server: it restarted, and its data is from before the snapshot"
	case c.flushed(db):
		return "server: it ran on, and was flushed since the snapshot"
	case c.unsure(db):
		return "server: nothing tells whether it ever had this data"
	case c.Cut[db]:
		return "server: it ran on, but keys vanished that RQ never removes by itself"
	}
	return "server: it lost nothing as a whole since the snapshot"
}

// shown reports the live workers that speak of a job, or that none does.
func (c *Context) shown(s *job.Row) string {
	var names []string
	for _, w := range c.Workers {
		if w.DB == s.DB && !w.Dead && (w.Job == s.ID || w.Name == s.Worker) {
			names = append(names, w.Name)
		}
	}
	if slices.Sort(names); len(names) > 0 {
		return "workers: " + some(names) + " may be at it"
	}
	return "workers: none shows itself with it"
}
