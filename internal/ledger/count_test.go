package ledger_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The moments of the made-up stories below.
var (
	outageAt = time.Date(2026, 11, 23, 7, 0, 0, 0, time.UTC)
	at       = func(seconds float64) time.Time { return outageAt.Add(time.Duration(seconds * float64(time.Second))) }
)

// story is one without a fault: a and b were queued at the snapshot and c had finished;
// all were lost, put back ten seconds after the outage, and a and b ran, and then n, which
// was enqueued in between.
func story() *books {
	holds := func(jobs map[string]jobState, high ...string) *state {
		s := &state{jobs: jobs, lists: map[string][]string{"high": high}, zsets: map[string]map[string]float64{}, ended: map[string]bool{}}
		for id, j := range jobs {
			s.ended[id] = j.status == "finished"
		}
		return s
	}
	queued, finished := jobState{status: "queued"}, jobState{status: "finished"}
	return &books{
		acknowledged: map[string]enqueued{"a": {ID: "a"}, "b": {ID: "b"}, "c": {ID: "c"}, "n": {ID: "n", At: seconds(at(5))}},
		snapshot:     holds(map[string]jobState{"a": queued, "b": queued, "c": finished}, "a", "b"),
		live:         holds(map[string]jobState{"n": queued}, "n"),
		final:        holds(map[string]jobState{"a": finished, "b": finished, "c": finished, "n": finished}),
		first:        map[string]bool{"a": true, "b": true, "c": true}, restored: map[string]bool{"a": true, "b": true, "c": true}, held: map[string]bool{},
		outage: outageAt, restoredAt: at(10), now: at(60), ordered: true,
		ledger: []entry{{at(-9), "begin", "c"}, {at(-8), "end", "c"}, {at(11), "begin", "a"}, {at(12), "end", "a"}, {at(13), "begin", "b"}, {at(14), "end", "b"},
			{at(15), "begin", "n"}, {at(16), "end", "n"}},
	}
}

// forget takes a job's lines out of the ledger.
func (b *books) forget(id string) {
	var left []entry
	for _, e := range b.ledger {
		if e.id != id {
			left = append(left, e)
		}
	}
	b.ledger = left
}

// runs writes a job's lines.
func (b *books) runs(id string, when float64) {
	b.ledger = append(b.ledger, entry{at(when), "begin", id}, entry{at(when + 0.5), "end", id})
}

// TestCount shows that each count finds what it is there to find.
func TestCount(t *testing.T) {
	for name, c := range map[string]struct {
		change func(b *books)
		want   tally
		faults int
	}{
		"nothing is wrong":          {func(b *books) {}, tally{Known: 2}, 0},
		"one never ran":             {func(b *books) { b.forget("a") }, tally{Known: 2, NeverRan: 1}, 1},
		"one began and never ended": {func(b *books) { b.ledger = b.ledger[:len(b.ledger)-3] }, tally{Known: 2, NeverRan: 1}, 1},
		"one is held":               {func(b *books) { b.forget("a"); b.held["a"] = true }, tally{Known: 2, Held: 1}, 0},
		"one expired":               {func(b *books) { b.forget("a"); b.snapshot.jobs["a"] = jobState{"queued", at(50).UnixMilli()} }, tally{Known: 1}, 0},
		"one has not expired yet":   {func(b *books) { b.forget("a"); b.snapshot.jobs["a"] = jobState{"queued", at(70).UnixMilli()} }, tally{Known: 2, NeverRan: 1}, 1},
		"RQ failed one":             {func(b *books) { b.forget("a"); b.final.jobs["a"] = jobState{status: "failed"} }, tally{Known: 2, ByRQ: 1}, 0},
		"one runs for RQ": {func(b *books) {
			b.forget("a")
			b.final.jobs["a"] = jobState{status: "started"}
			b.final.zsets["wip:high"] = map[string]float64{"a": 1}
		}, tally{Known: 2, ByRQ: 1}, 0},
		"one runs for nobody":          {func(b *books) { b.forget("a"); b.final.jobs["a"] = jobState{status: "started"} }, tally{Known: 2, NeverRan: 1}, 1},
		"one waits for one held":       {func(b *books) { b.behind("b"); b.held["b"] = true }, tally{Known: 2, Held: 1, ByRQ: 1}, 0},
		"one waits for one that ended": {func(b *books) { b.behind("c") }, tally{Known: 2, NeverRan: 2}, 2},
		"a finished one ran again":     {func(b *books) { b.runs("c", 20) }, tally{Known: 2, RanAgain: 1, Twice: 1}, 1},
		"one that only live knew as finished ran again": {func(b *books) {
			b.snapshot.ended["c"], b.live.ended["c"] = false, true
			delete(b.snapshot.jobs, "c")
			b.runs("c", 20)
		}, tally{Known: 2, RanAgain: 1, Twice: 1}, 1},
		"a finished one ran again, but before the restore": {func(b *books) { b.runs("c", 5) }, tally{Known: 2, TooEarly: 1, Twice: 1}, 0},
		"a finished one ran again, since its parent did before the restore": {func(b *books) {
			b.runs("c", 20)
			b.runs("p", 5)
			b.acknowledged["c"] = enqueued{ID: "c", Parents: []string{"p"}}
		}, tally{Known: 2, TooEarly: 1, Twice: 1}, 0},
		"one ran twice":                          {func(b *books) { b.runs("b", 20) }, tally{Known: 2, Twice: 1, Later: 1}, 0},
		"one ran twice, once before the restore": {func(b *books) { b.runs("b", -20) }, tally{Known: 2, Twice: 1}, 0},
		"one was retried": {func(b *books) {
			b.forget("b")
			b.ledger = append(b.ledger, entry{at(13), "begin", "b"}, entry{at(14), "retry", "b"})
			b.runs("b", 20)
		}, tally{Known: 2}, 0},
		"two ran in the wrong order":          {func(b *books) { b.forget("a"); b.runs("a", 14.5) }, tally{Known: 2, Disordered: 1}, 1},
		"a new one ran before them":           {func(b *books) { b.forget("n"); b.runs("n", 10.5) }, tally{Known: 2, Disordered: 1}, 1},
		"two in a queue of several workers":   {func(b *books) { b.forget("a"); b.runs("a", 14.5); b.ordered = false }, tally{Known: 2}, 0},
		"one of them began before the outage": {func(b *books) { b.forget("b"); b.runs("b", -3) }, tally{Known: 2}, 0},
		"one came back later than the others": {func(b *books) { b.forget("a"); b.runs("a", 40); delete(b.first, "a") }, tally{Known: 2}, 0},
		"one came after the snapshot":         {func(b *books) { b.acknowledged["late"] = enqueued{ID: "late"} }, tally{Known: 2, NotInIt: 1}, 0},
	} {
		b := story()
		c.change(b)
		got := b.count()
		if len(b.faults) != c.faults {
			t.Errorf("%s: got the faults %q, want %d", name, b.faults, c.faults)
		}
		c.want.Runs, c.want.Back = 1, 3
		if got != c.want {
			t.Errorf("%s: got %+v, want %+v", name, got, c.want)
		}
	}
}

// behind makes a wait for another job.
func (b *books) behind(parent string) {
	b.forget("a")
	b.forget("b")
	b.final.jobs["a"] = jobState{status: "deferred"}
	b.acknowledged["a"] = enqueued{ID: "a", Parents: []string{parent}}
}

// The table replaces the one before it and leaves the rest of the page alone.
func TestTable(t *testing.T) {
	r := results{}
	for _, o := range outages {
		for _, p := range policies {
			r.add(o.name, p, tally{Runs: 3, Known: 7})
			r.add(o.name, p, tally{Runs: 1, Held: 2})
		}
	}
	name := filepath.Join(t.TempDir(), "page.md")
	if err := os.WriteFile(name, []byte("before\n"+tableBegins+"old\n"+tableEnds+"after\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.write(t, name)
	got := string(file(t, name))
	rest, ok := strings.CutPrefix(got, "before\n"+tableBegins+"| outage | policy | runs |")
	if !ok || !strings.HasSuffix(rest, "|\n"+tableEnds+"after\n") || strings.Contains(got, "old\n") || !strings.Contains(got, "| FLUSHALL | at-most-once | 4 | 7 | 0 | 0 | 0 | 0 | 2 |") {
		t.Errorf("got %s", got)
	}
	delete(r, [2]string{"FLUSHALL", "at-most-once"})
	r.write(t, name)
	if again := string(file(t, name)); again != got {
		t.Errorf("a part of the ledger replaced the whole: %s", again)
	}
}
