package restore

import (
	"cmp"
	"context"
	"fmt"

	"rqvault/internal/job"
)

// placing is a call of release.lua on its way.
type placing struct {
	q       *returning
	steps   []*task
	replies []any
	err     error
	landed  chan struct{}
}

// place sends the next ids of a queue that belong together, at most so many: they go behind
// the one that they have to follow or, if that has left the queue, behind the one placed
// last.
func (a *applier) place(ctx context.Context, q *returning, most int) *placing {
	start, end := q.next, q.next+1
	for end < len(q.steps) && end-start < most && q.steps[end].After == q.steps[start].After && !q.steps[end].placed {
		end++
	}
	p := &placing{q: q, steps: q.steps[start:end], landed: make(chan struct{})}
	c, redis := a.placeCall(q, p.steps), a.o.Redis
	go func() {
		defer close(p.landed)
		p.replies, p.err = redis.Run(ctx, int(q.key.db), releaseScript, []Call{c})
	}()
	return p
}

func (a *applier) placeCall(q *returning, steps []*task) Call {
	names := a.o.Schema.VersionFields()
	keys := append(make([]string, 0, 2+len(steps)), a.w.ledger, a.o.Schema.PlaceKey(job.InQueue, q.key.name))
	args := append(make([]any, 0, 5+len(names)+2*len(steps)), q.after, q.last, a.o.Now().UnixMilli(), sign(stateHeld, a.w.now), len(names))
	for _, n := range names {
		args = append(args, n)
	}
	for _, s := range steps {
		keys = append(keys, a.o.Schema.PartKey(s.JobID, job.HashPart))
		args = append(args, JobEntry(s.JobID))
	}
	for _, s := range steps {
		args = append(args, s.JobID)
	}
	return Call{Keys: keys, Args: args}
}

// placed waits for what became of those ids. Those that come after go by it.
func (a *applier) placed(p *placing) error {
	<-p.landed
	q := p.q
	if p.err != nil {
		return fmt.Errorf("place the jobs of queue %s: %w", q.key.name, p.err)
	}
	last := a.placeReply(p.steps, p.replies[0])
	q.last, q.after, q.next = cmp.Or(last, q.last), cmp.Or(last, q.after), q.next+len(p.steps)
	a.left(q)
	return nil
}

// placeReply reads what release.lua answered. It returns the last id that is in its place.
func (a *applier) placeReply(steps []*task, reply any) (last string) {
	list, ok := reply.([]any)
	if !ok || len(list) != len(steps) {
		reason := errReply.Error()
		if err, ok := reply.(error); ok {
			reason = plain(err.Error())
		}
		for _, s := range steps {
			a.outcome(s.Step, Failed, "its data is back, but not its place: "+reason)
		}
		return ""
	}
	for i, s := range steps {
		switch list[i] {
		case statePlaced:
			a.finished(s.Step)
			last = s.JobID
		case "gone":
			a.outcome(s.Step, Skipped, "its own expiry passed while it was put back")
		case "changed":
			a.outcome(s.Step, a.refused(), "somebody else has had it since its data came back: live wins")
		default:
			a.outcome(s.Step, Skipped, putBack)
			last = s.JobID
		}
	}
	return last
}
