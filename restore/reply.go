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
		a.outcome(p.task.Step, Failed, plain(err.Error()))
		return false
	}
	detail = plain(detail)
	switch word {
	case "done":
		a.prepared(p)
	case "ledger":
		switch {
		case detail == stateHeld && p.task.twofold():
			a.prepared(p)
		case detail == statePlaced && p.task.held():
			a.standing(p, false)
		default:
			a.outcome(p.task.Step, Skipped, putBack)
		}
	case "present":
		if p.task.Action == verify.Place && p.task.held() { // in its list, that is
			a.standing(p, true)
			return false
		}
		a.outcome(p.task.Step, a.refused(), liveHas)
	case "stub":
		a.outcome(p.task.Step, Held, "a worker has written to it meanwhile: let it end, then compare again")
	case "changed":
		switch {
		case detail == stateHeld && p.task.twofold():
			a.prepared(p)
		case detail == statePlaced && p.task.held():
			a.standing(p, false)
		case detail != "":
			a.outcome(p.task.Step, Skipped, putBack)
		default:
			a.outcome(p.task.Step, a.refused(), "it has changed in live since the plan was made: live wins")
		}
	case "expired":
		a.outcome(p.task.Step, Skipped, "its own expiry has passed")
	case "moved":
		// Nobody can run an id without its hash: a worker took it and threw it away.
		if p.task.Status == job.Queued {
			p.task.anew(func(s *Step) { s.Guard, s.Home = verify.GuardAbsent, nil })
			return true
		}
		a.outcome(p.task.Step, a.refused(), "its id waits no more")
	case "refused":
		if p.fields {
			a.outcome(p.task.Step, Failed, "Redis refused it: "+detail)
			return false
		}
		a.w.fields = true
		return true
	default:
		a.outcome(p.task.Step, Failed, "Redis refused it: "+detail)
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
	p.task.placed, p.task.others = true, others
	a.prepared(p)
}

// prepared notes a job whose data is in live.
func (a *applier) prepared(p pending) {
	if p.task.held() {
		k := queueKey{p.task.DB, p.task.List}
		a.waiting[k] = append(a.waiting[k], p.task)
		return
	}
	switch {
	case p.row.Status == job.Deferred:
		a.ready = append(a.ready, p.row)
	case p.task.ends():
		a.ended = append(a.ended, alone(p.row))
	}
	a.finished(p.task.Step)
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
