package main

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
)

// title names a row: a path can be measured against several peers.
func (r row) title() string { return r.name + " | " + r.peer }

func (r result) String() string {
	goal, met := fmt.Sprintf("≤ %.3g", r.goal), "met"
	switch {
	case r.goal == 0:
		goal, met = "", ""
	case median(r.ratios) > r.goal:
		met = "NOT met"
	}
	unit := cmp.Or(r.unit, "s")
	return fmt.Sprintf("| %s | %.3g %s | %s: %.3g %s | %.3f (%.3f–%.3f, %d runs) | %s | %s |", r.name, median(r.ours), unit, r.peer, median(r.peers), unit,
		median(r.ratios), slices.Min(r.ratios), slices.Max(r.ratios), len(r.ratios), goal, met)
}

// table is what was measured in this run.
type table struct {
	head  string
	lines map[string]string // by the rows' titles
}

func newTable(set dataset) *table {
	return &table{lines: map[string]string{}, head: fmt.Sprintf("%d jobs and %d other keys, medians, and ratios with their least and greatest:\n\n", set.jobs, set.other) +
		"| path | rqvault | peer | ratio | goal | |\n|---|---|---|---|---|---|\n"}
}

func (t *table) String() string { return t.over("") }

// over returns the table, with the rows that were not measured as they stand in the old one.
func (t *table) over(old string) string {
	stood := map[string]string{}
	for line := range strings.Lines(old) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) < 4 {
			continue
		}
		name, peer := strings.TrimSpace(cells[1]), strings.TrimSpace(cells[3])
		if i := strings.LastIndex(peer, ": "); i > 0 {
			stood[name+" | "+peer[:i]] = strings.TrimSpace(line)
		}
	}
	var text strings.Builder
	text.WriteString(t.head)
	for _, r := range allRows {
		if line := cmp.Or(t.lines[r.title()], stood[r.title()]); line != "" {
			text.WriteString(line + "\n")
		}
	}
	return text.String()
}

// write puts what text makes of it between the marks of that name in a document.
func write(doc, name string, text func(old string) string) error {
	b, err := os.ReadFile(doc)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(b), "<!-- bench "+name+" -->\n")
	old, after, ended := strings.Cut(rest, "<!-- end -->")
	if !ok || !ended {
		return fmt.Errorf("%s has no marks for the table %s", doc, name)
	}
	return os.WriteFile(doc, []byte(before+"<!-- bench "+name+" -->\n"+text(old)+"<!-- end -->"+after), 0o600)
}
