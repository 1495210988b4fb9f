package ledger_test

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
)

// results are the tallies of all runs by outage and policy.
type results map[[2]string]*tally

func (r results) add(outage, policy string, t tally) {
	k := [2]string{outage, policy}
	if r[k] == nil {
		r[k] = &tally{}
	}
	r[k].add(t)
}

// columns are those of the table in docs/recovery.md, which says what they mean.
var columns = []struct {
	name string
	of   func(t *tally) int
}{
	{"runs", func(t *tally) int { return t.Runs }},
	{"unfinished", func(t *tally) int { return t.Known }},
	{"put back", func(t *tally) int { return t.Back }},
	{"**never ran**", func(t *tally) int { return t.NeverRan }},
	{"**ended, ran again**", func(t *tally) int { return t.RanAgain }},
	{"**out of order**", func(t *tally) int { return t.Disordered }},
	{"held", func(t *tally) int { return t.Held }},
	{"left to RQ", func(t *tally) int { return t.ByRQ }},
	{"ran twice", func(t *tally) int { return t.Twice }},
	{"later", func(t *tally) int { return t.Later }},
	{"too early", func(t *tally) int { return t.TooEarly }},
	{"after the snapshot", func(t *tally) int { return t.NotInIt }},
}

// markdown is the table.
func (r results) markdown() string {
	var b strings.Builder
	b.WriteString("| outage | policy |")
	for _, c := range columns {
		b.WriteString(" " + c.name + " |")
	}
	b.WriteString("\n|---|---|" + strings.Repeat("--:|", len(columns)) + "\n")
	for _, o := range outages {
		for _, p := range policies {
			t := r[[2]string{o.name, p}]
			if t == nil {
				continue
			}
			fmt.Fprintf(&b, "| %s | %s |", o.name, p)
			for _, c := range columns {
				fmt.Fprintf(&b, " %d |", c.of(t))
			}
			b.WriteByte('\n')
		}
	}
	return b.String()
}

func (r results) print() { fmt.Print(r.markdown()) }

// The lines between which the table stands.
const (
	tableBegins = "<!-- make ledger writes this table -->\n"
	tableEnds   = "<!-- end -->\n"
)

// write puts the table into a file, in place of the one there.
func (r results) write(t testing.TB, name string) {
	t.Helper()
	if len(r) != len(outages)*len(policies) {
		t.Logf("%s stays as it is: this was not the whole ledger", name)
		return
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := bytes.Cut(b, []byte(tableBegins))
	_, after, ok2 := bytes.Cut(rest, []byte(tableEnds))
	if !ok || !ok2 {
		t.Fatalf("%s has no lines %q and %q", name, tableBegins, tableEnds)
	}
	text := string(before) + tableBegins + r.markdown() + tableEnds + string(after)
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
