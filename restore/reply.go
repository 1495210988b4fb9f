package restore

import (
	"errors"
	"regexp"

	"rqvault/internal/job"
	"rqvault/verify"
)

// reply reads what restore.lua answered for the job that is number i of its call. It reports
// whether the job has to be tried another way.
func (a *applier) reply(p pending, reply any, i int) (again bool) {
	word, detail, err := words(reply, i)
	if err != nil {
		a.outcome(p.step, Failed, plain(err.Error()))
		return false
	}
	detail = plain(detail)
	switch word {
	case "done":
		a.prepared(p)
	case "ledger":
		switch {
		case detail == stateHeld && p.step.twofold():
			a.prepared(p)
		case detail == statePlaced && p.step.held():
			a.standing(p, false)
		default:
			a.outcome(p.step, Skipped, putBack)
		}
	case "present":
		if p.step.Action == verify.Place && p.step.held() { // in its list, that is
			a.standing(p, true)
			return false
		}
		a.outcome(p.step, a.refused(), liveHas)
	case "stub":
		a.outcome(p.step, Held, "a worker has written to it meanwhile: let it end, then compare again")
	case "changed":
		switch {
		case detail == stateHeld && p.step.twofold():
			a.prepared(p)
		case detail == statePlaced && p.step.held():
			a.standing(p, false)
		case detail != "":
			a.outcome(p.step, Skipped, putBack)
		default:
			a.outcome(p.step, a.refused(), "it has changed in live since the plan was made: live wins")
		}
	case "expired":
		a.outcome(p.step, Skipped, "its own expiry has passed")
	case "moved":
		// Nobody can run an id without its hash: a worker took it and threw it away.
		if p.step.Status == job.Queued {
			p.step.Guard, p.step.Home = verify.GuardAbsent, nil
			return true
		}
		a.outcome(p.step, a.refused(), "its id waits no more")
	case "refused":
		if p.fields {
			a.outcome(p.step, Failed, "Redis refused it: "+detail)
			return false
		}
		a.w.fields = true
		return true
	default:
		a.outcome(p.step, Failed, "Redis refused it: "+detail)
	}
	return false
}

// refused is the result of a step that does not fit any more: an exact plan was reviewed,
// or this run's own comparison is a moment old.
func (a *applier) refused() Result {
	if a.o.Reviewed {
		return Refused
	}
	return Skipped
}

// What is said of a job that the ledger knows, and of one that is there though the plan has
// it missing.
const (
	putBack = "an earlier run put it back already"
	liveHas = "live has it now: live wins"
)

// standing notes a job whose id is in its queue already, put there by a run before or by
// others: those behind it go by it.
func (a *applier) standing(p pending, others bool) {
	p.step.placed, p.step.others = true, others
	a.prepared(p)
}

// prepared notes a job whose data is in live.
func (a *applier) prepared(p pending) {
	if p.step.held() {
		k := queueKey{p.step.DB, p.step.List}
		a.waiting[k] = append(a.waiting[k], p.step)
		return
	}
	switch {
	case p.row.Status == job.Deferred:
		a.ready = append(a.ready, p.row)
	case p.step.ends():
		a.ended = append(a.ended, p.row)
	}
	a.finished(p.step)
}

func (a *applier) finished(s *Step) {
	switch s.Action {
	case verify.Requeue:
		a.outcome(s, Restored, "put back whole, to run again")
		return
	case verify.Fail:
		a.outcome(s, Restored, "put back whole, as failed")
		return
	}
	if s.Action == verify.Forward {
		if s.Status.Ended() {
			a.outcome(s, Repaired, "taken out of where it waited, and ended as in the snapshot")
		} else {
			a.outcome(s, Repaired, "brought forward: "+string(s.Status)+", as in the snapshot")
		}
		return
	}
	if s.Action == verify.Start {
		a.outcome(s, Repaired, "the jobs that wait for its end were started")
		return
	}
	if s.Action == verify.Place {
		a.outcome(s, Repaired, "its place was put right")
		return
	}
	a.outcome(s, Restored, "put back whole")
}

var errReply = errors.New("the script answered in a form rqvault does not know")

// scriptTrailer is what Redis adds to an error inside a script.
var scriptTrailer = regexp.MustCompile(`\.? script: [0-9a-f]{40}, on @?user_script:\d+\.?$`)

// plain is a server's complaint without the place in the script.
func plain(text string) string {
	if text == "" {
		return "" // nearly always
	}
	return scriptTrailer.ReplaceAllString(text, "")
}

// words reads word and detail of what a script did for number i.
func words(reply any, i int) (word, detail string, err error) {
	if err, ok := reply.(error); ok {
		return "", "", err
	}
	list, ok := reply.([]any)
	if !ok || len(list) < 2*i+2 {
		return "", "", errReply
	}
	word, ok1 := list[2*i].(string)
	detail, ok2 := list[2*i+1].(string)
	if !ok1 || !ok2 {
		return "", "", errReply
	}
	return word, detail, nil
}
