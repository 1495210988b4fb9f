package ledger_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// books is all that is known of a run, from outside of rqvault.
type books struct {
	acknowledged map[string]enqueued
	ledger       []entry
	snapshot     *state // what the snapshot holds
	live         *state // what Redis held after the outage
	final        *state // at the end
	outage       time.Time
	restoredAt   time.Time       // the first restore was over
	now          time.Time       // the end
	restored     map[string]bool // put back, or its place, by whichever restore
	first        map[string]bool // likewise, by the first
	held         map[string]bool // at some time, for a person
	ordered      bool            // from the outage on each queue had one worker
	said         []finding       // by all diffs, in order
	faults       []string        // what count found that must not be
	notes        []string        // and what may be
}

// enqueued is a job whose enqueueing Redis acknowledged.
type enqueued struct {
	ID, Queue string
	Kind      string
	At        float64
	Parents   []string
}

// entry is one line of the ledger: a job begins, ends, or fails to be retried.
type entry struct {
	at       time.Time
	what, id string
}

// read takes in what producers and jobs wrote down.
func (b *books) read(t testing.TB, c *crew) {
	t.Helper()
	b.acknowledged = map[string]enqueued{}
	for line := range bytes.Lines(file(t, c.acknowledged())) {
		var e enqueued
		if err := json.Unmarshal(line, &e); err == nil { // the last line may be half, of a producer that was killed
			b.acknowledged[e.ID] = e
		}
	}
	for line := range bytes.Lines(file(t, c.ledger())) {
		var at float64
		var e entry
		var pid int
		if err := json.Unmarshal(line, &[]any{&at, &e.what, &e.id, &pid}); err != nil {
			t.Fatalf("line %q of the ledger: %v", line, err)
		}
		e.at = time.UnixMicro(int64(at * 1e6))
		b.ledger = append(b.ledger, e)
	}
}

func file(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// tally is what the books come to. Jobs are counted, where not said otherwise.
type tally struct {
	Runs       int
	Known      int // unfinished in the snapshot, and not expired since before they ran
	Back       int // put back, or their place
	NeverRan   int // of those known
	RanAgain   int // had ended, as the snapshot or live told after the outage, and began after the restore
	TooEarly   int // likewise, but before the restore, or because one that they follow did
	Disordered int // began after a job of their queue that stood behind them
	Twice      int // began more than once, retries apart
	Later      int // of those: ended after the first restore, and began again after a later one
	Held       int // of those known that never ran: held by rqvault for a person
	ByRQ       int // likewise: failed by RQ, or behind one that RQ failed, or running for RQ
	NotInIt    int // enqueued, not in the snapshot, and gone
}

// fault notes what must not be.
func (b *books) fault(id, format string, args ...any) {
	b.faults = append(b.faults, b.told(id, fmt.Sprintf(format, args...)))
}

// told adds all that diff and the ledger have on the job.
func (b *books) told(id, what string) string {
	f := id + " " + what
	for _, s := range b.said {
		if s.JobID == id {
			f += fmt.Sprintf("\n\tdiff: %s, %s: %s", s.Verdict, s.Action, s.Reason)
		}
	}
	for _, e := range b.ledger {
		if e.id == id {
			f += fmt.Sprintf("\n\tledger: %s %.3f s after the outage, %.3f s after the restore", e.what, e.at.Sub(b.outage).Seconds(), e.at.Sub(b.restoredAt).Seconds())
		}
	}
	for _, p := range b.acknowledged[id].Parents {
		f += fmt.Sprintf("\n\tit follows %s, %q after the outage and %q in the end", p, b.live.jobs[p].status, b.final.jobs[p].status)
		f += strings.ReplaceAll(strings.TrimPrefix(b.told(p, ""), p+" "), "\n", "\n\t")
	}
	return f
}

func (t *tally) add(o tally) {
	t.Runs, t.Known, t.Back = t.Runs+o.Runs, t.Known+o.Known, t.Back+o.Back
	t.NeverRan, t.RanAgain, t.TooEarly, t.Disordered = t.NeverRan+o.NeverRan, t.RanAgain+o.RanAgain, t.TooEarly+o.TooEarly, t.Disordered+o.Disordered
	t.Later += o.Later
	t.Twice, t.Held, t.ByRQ, t.NotInIt = t.Twice+o.Twice, t.Held+o.Held, t.ByRQ+o.ByRQ, t.NotInIt+o.NotInIt
}

// count balances the books.
func (b *books) count() tally {
	t := tally{Runs: 1, Back: len(b.restored)}
	begins, ended, retried, last := map[string][]time.Time{}, map[string]bool{}, map[string]int{}, map[string]time.Time{}
	slices.SortStableFunc(b.ledger, func(x, y entry) int { return x.at.Compare(y.at) })
	for _, e := range b.ledger {
		switch e.what {
		case "begin":
			begins[e.id] = append(begins[e.id], e.at)
			if last[e.id].After(b.restoredAt) {
				t.Later++
				b.notes = append(b.notes, b.told(e.id, "ended after the restore and ran again"))
			}
		case "end":
			ended[e.id], last[e.id] = true, e.at
		case "retry":
			retried[e.id]++
		}
	}
	b.never(&t, ended)
	b.again(&t, begins)
	b.order(&t, begins)
	for id, at := range begins {
		if len(at) > 1+retried[id] {
			t.Twice++
		}
	}
	for id := range b.acknowledged {
		if _, ok := b.snapshot.jobs[id]; !ok && !ended[id] && !b.snapshot.ended[id] {
			if _, ok := b.final.jobs[id]; !ok {
				t.NotInIt++
			}
		}
	}
	return t
}

// never looks for jobs that the snapshot knew and that never ran to their end.
func (b *books) never(t *tally, ended map[string]bool) {
	for id, j := range b.snapshot.jobs {
		switch {
		case b.snapshot.ended[id]:
			continue
		case ended[id]:
		case j.expireAt != 0 && j.expireAt <= b.now.UnixMilli():
			continue
		case b.held[id]:
			t.Held++
		case b.byRQ(id):
			t.ByRQ++
		default:
			t.NeverRan++
			b.fault(id, "was %s in the snapshot, and never ran; after the outage it was %q, in the end %q", j.status, b.live.jobs[id].status, b.final.jobs[id].status)
		}
		t.Known++
	}
}

// byRQ reports whether it is RQ's own doing that the job has not run: its worker died and
// RQ failed it, or has yet to, or it waits for such a job, or for one that is held.
func (b *books) byRQ(id string) bool {
	switch b.final.jobs[id].status {
	case "failed":
		return true
	case "started":
		return b.final.in("wip", id)
	case "deferred":
		return slices.ContainsFunc(b.acknowledged[id].Parents, func(p string) bool { return b.held[p] || b.byRQ(p) })
	}
	return false
}

// again looks for jobs that had provably ended and began once more.
func (b *books) again(t *tally, begins map[string][]time.Time) {
	for id, at := range begins {
		if !b.snapshot.ended[id] && !b.live.ended[id] || slices.MaxFunc(at, time.Time.Compare).Before(b.outage) {
			continue
		}
		switch {
		case !b.early(id, begins) && slices.MaxFunc(at, time.Time.Compare).After(b.restoredAt):
			t.RanAgain++
			b.fault(id, "had ended (by the snapshot %t, by live %t), and ran again", b.snapshot.ended[id], b.live.ended[id])
		case b.snapshot.ended[id]:
			t.TooEarly++
		}
	}
}

// early reports whether the job began between outage and restore, or one that it follows
// did, so that RQ enqueued it once more.
func (b *books) early(id string, begins map[string][]time.Time) bool {
	return slices.ContainsFunc(begins[id], func(at time.Time) bool { return at.After(b.outage) && at.Before(b.restoredAt) }) ||
		slices.ContainsFunc(b.acknowledged[id].Parents, func(p string) bool { return b.early(p, begins) })
}

// order looks for jobs that stood in a queue of the snapshot, survived or were restored,
// and began after one that stood behind them; and behind all of them stand those that
// were enqueued after the outage.
func (b *books) order(t *tally, begins map[string][]time.Time) {
	if !b.ordered {
		return
	}
	for _, q := range queues {
		var line []string
		for _, id := range b.snapshot.lists[q] {
			if b.first[id] || slices.Contains(b.live.lists[q], id) {
				line = append(line, id)
			}
		}
		for _, id := range b.live.lists[q] {
			if b.acknowledged[id].At > seconds(b.outage) && b.acknowledged[id].Kind != "front" {
				line = append(line, id)
			}
		}
		var latest time.Time
		before := ""
		for _, id := range line {
			at := begins[id]
			if len(at) == 0 || at[0].Before(b.restoredAt) {
				continue
			}
			if at[0].Before(latest) {
				t.Disordered++
				b.fault(id, "of queue %s ran before %s, which stood in front of it", q, before)
			} else {
				latest, before = at[0], id
			}
		}
	}
}

func seconds(t time.Time) float64 { return float64(t.UnixMicro()) / math.Pow10(6) }
