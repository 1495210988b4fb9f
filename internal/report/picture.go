package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"rqvault/internal/lineage"
	"rqvault/verify"
)

// share is how many jobs have one verdict or result, and where its piece of a bar lies.
type share struct {
	Verdict  verify.Verdict
	Name     string
	Count    int
	X, Width float64 // of a thousand
	Meaning  string
}

// bar is one queue in the picture.
type bar struct {
	Name   string
	Shares []share
	Total  int
	Text   string // the counts in words, what matters first
}

// leastShare is the width, of a thousand, below which nobody would see a piece.
const leastShare = 6.0

// bars draws the queues, those with the most to see to first, each as long as it has
// jobs. The last one stands for all that find no room, and more says how many those are.
func (d *Data) bars() (out []bar, more int) {
	counts := map[verify.Queue]map[verify.Verdict]int{}
	acted := map[verify.Queue]int{}
	add := func(q verify.Queue, v verify.Verdict, n int) {
		if counts[q] == nil {
			counts[q] = map[verify.Verdict]int{}
		}
		counts[q][v] += n
	}
	for q, n := range d.Intact {
		add(q, verify.Intact, n)
	}
	for i := range d.Jobs {
		j := &d.Jobs[i]
		q := verify.Queue{DB: j.DB, Name: j.Queue}
		add(q, j.Verdict, 1)
		if planned(j.Action) != "" {
			acted[q]++
		}
	}
	var queues []verify.Queue
	for q := range counts {
		queues = append(queues, q)
	}
	slices.SortFunc(queues, func(a, b verify.Queue) int {
		return cmp.Or(cmp.Compare(acted[b], acted[a]), cmp.Compare(a.DB, b.DB), cmp.Compare(a.Name, b.Name))
	})
	if len(queues) > maxQueues {
		more = len(queues) - maxQueues
		rest := map[verify.Verdict]int{}
		for _, q := range queues[maxQueues:] {
			for v, n := range counts[q] {
				rest[v] += n
			}
		}
		queues = queues[:maxQueues]
		defer func() { out = append(out, newBar(fmt.Sprintf("%d more queues", more), rest)) }()
	}
	for _, q := range queues {
		out = append(out, newBar(queueName(q.DB, q.Name), counts[q]))
	}
	longest := 1
	for _, b := range out {
		longest = max(longest, b.Total)
	}
	for i := range out {
		out[i].draw(longest)
	}
	return out, more
}

func queueName(db int32, name string) string {
	if db != 0 {
		return fmt.Sprintf("%s (db %d)", name, db)
	}
	return name
}

func newBar(name string, counts map[verify.Verdict]int) bar {
	b := bar{Name: name}
	var words []string
	for _, v := range verify.Verdicts {
		if n := counts[v]; n > 0 {
			b.Shares = append(b.Shares, share{Verdict: v, Count: n})
			b.Total += n
			words = append(words, number(n)+" "+strings.ReplaceAll(string(v), "_", " "))
		}
	}
	b.Text = strings.Join(words, ", ")
	b.draw(max(1, b.Total))
	return b
}

// draw lays the shares out, where a bar of longest jobs has the full width. A small share
// is drawn larger than it is, so that it is seen at all, at the cost of the largest.
func (b *bar) draw(longest int) {
	full := max(1000*float64(b.Total)/float64(longest), leastShare*float64(len(b.Shares)))
	scale, wide := full/float64(max(1, b.Total)), 0.0
	largest := 0
	for i := range b.Shares {
		s := &b.Shares[i]
		s.Width = max(leastShare, float64(s.Count)*scale)
		wide += s.Width
		if s.Width > b.Shares[largest].Width {
			largest = i
		}
	}
	b.Shares[largest].Width -= wide - full
	x := 0.0
	for i := range b.Shares {
		b.Shares[i].X = x
		x += b.Shares[i].Width
	}
}

// legend lists the verdicts that there are, with what they mean.
func (d *Data) legend() []share {
	var out []share
	for _, v := range verify.Verdicts {
		if n := d.Counts[v]; n > 0 {
			out = append(out, share{Verdict: v, Count: n, Meaning: d.Meanings[v]})
		}
	}
	return out
}

// done counts what a restore came to, or would.
func (d *Data) done() []share {
	says := map[string]string{
		"restored": "put back whole", "repaired": "put right where they are", "held": "left for a person",
		"skipped": "left as they are: they had changed since they were compared",
		"refused": "left as they are: they had changed since the plan was made", "failed": "refused by Redis", "": "not reached: the restore stopped before them",
	}
	counts := map[string]int{}
	for i := range d.Jobs {
		if j := &d.Jobs[i]; planned(j.Action) != "" {
			counts[d.result(j)]++
		}
	}
	var out []share
	for _, r := range []string{"restored", "repaired", "held", "skipped", "refused", "failed", ""} {
		if n := counts[r]; n > 0 {
			out = append(out, share{Name: cmp.Or(r, "not reached"), Count: n, Meaning: says[r]})
		}
	}
	return out
}

// figure is one of the large numbers under the headline.
type figure struct{ Number, Label, Tone string }

func (d *Data) figures() []figure {
	if d.Drill != nil {
		return []figure{{seconds(d.Drill.Recovery), "to recover", ""}, {number(d.Drill.Jobs), "jobs compared", ""},
			{number(d.Drill.Keys), "keys compared", ""}, {number(d.Drill.Different), "differ", tone(int(d.Drill.Different), "bad")}}
	}
	t := d.tally()
	back, repaired := "can be put back", "can be repaired"
	if d.Kind == Applied {
		back, repaired = "put back", "repaired"
	}
	out := []figure{{number(t.known), d.noun() + "s in the snapshot", ""}, {number(t.lost), "lost", tone(t.lost, "bad")}, {number(t.back), back, tone(t.back, "good")}}
	if t.repaired > 0 {
		out = append(out, figure{number(t.repaired), repaired, "good"})
	}
	if n := t.failed + t.missed; n > 0 {
		out = append(out, figure{number(n), "not written", "bad"})
	}
	return append(out, figure{number(t.held), "for you to decide", tone(t.held, "warn")})
}

func tone(n int, name string) string {
	if n == 0 {
		return ""
	}
	return name
}

// fact is one line of what the server said of itself, then and now.
type fact struct{ What, Then, Now string }

func (d *Data) facts() []fact {
	if d.Drill != nil {
		return nil
	}
	a, b := d.Then, d.Now
	out := []fact{
		{"Run id", short(a.RunID), short(b.RunID)},
		{"Server", strings.TrimSpace(a.Server + " " + a.Version), strings.TrimSpace(b.Server + " " + b.Version)},
		{"Running for", up(a), up(b)},
		{"Keys", number(keys(a)), number(keys(b))},
		{"Keys evicted since its start", number(a.EvictedKeys), number(b.EvictedKeys)},
		{"Flushes since its start", number(flushes(a)), number(flushes(b))},
	}
	if !d.Lineage.StartedAt.IsZero() {
		out = slices.Insert(out, 3, fact{"Started", started(a), stamp(d.Lineage.StartedAt)})
	}
	return slices.DeleteFunc(out, func(f fact) bool { return f.Then == f.Now && (f.Now == "0" || f.Now == "") })
}

func short(id string) string {
	if id == "" {
		return "not told"
	}
	return fmt.Sprintf("%.12s…", id)
}

func up(f lineage.Facts) string {
	if f.RunID == "" {
		return "not told"
	}
	return lasted(time.Duration(f.UptimeSeconds) * time.Second)
}

func started(f lineage.Facts) string {
	if t := f.StartedAt(); !t.IsZero() {
		return stamp(t)
	}
	return "not told"
}

func keys(f lineage.Facts) (n int64) {
	for _, db := range f.Keyspace {
		n += db.Keys
	}
	return n
}

func flushes(f lineage.Facts) int64 { return f.Calls["flushall"] + f.Calls["flushdb"] }

// More is how many differences are not listed.
func (d *Drill) More() int { return int(d.Different) - len(d.Differs) }

// took is a step of a drill as a piece of a bar.
type took struct {
	What, Lasted string
	X, Width     float64
}

func (d *Drill) took() (out []took, total string) {
	if d == nil {
		return nil, ""
	}
	sum := 0.0
	for _, t := range d.Took {
		sum += t.Seconds
	}
	x := 0.0
	for _, t := range d.Took {
		width := 0.0
		if sum > 0 {
			width = 1000 * t.Seconds / sum
		}
		out = append(out, took{t.What, seconds(t.Seconds), x, width})
		x += width
	}
	return out, seconds(sum)
}
