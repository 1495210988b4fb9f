package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A row that is measured alone takes the place of its old line, and leaves the others.
func TestRowsAreWrittenOneByOne(t *testing.T) {
	t.Parallel()
	doc := filepath.Join(t.TempDir(), "doc.md")
	if err := os.WriteFile(doc, []byte("before\n<!-- bench quick -->\n<!-- end -->\nafter\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	put := func(r row, ratio float64) string {
		t.Helper()
		table := newTable(sizes["quick"])
		table.lines[r.title()] = result{row: r, ours: []float64{ratio}, peers: []float64{1}, ratios: []float64{ratio}}.String()
		if err := write(doc, "quick", table.over); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(doc)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	first, last := allRows[0], allRows[len(allRows)-1]
	put(last, 0.125)
	put(first, 0.375)
	got := put(first, 0.25)
	if n := strings.Count(got, "\n| "); n != 3 || strings.Contains(got, "0.375") {
		t.Errorf("%d lines of a table, want its head and two rows:\n%s", n, got)
	}
	if a, b := strings.Index(got, "0.250 ("), strings.Index(got, "0.125 ("); a < 0 || b < a {
		t.Errorf("the rows are not in their order:\n%s", got)
	}
	if !strings.HasPrefix(got, "before\n<!-- bench quick -->\n50000 jobs") || !strings.HasSuffix(got, "<!-- end -->\nafter\n") {
		t.Errorf("the document around the table changed:\n%s", got)
	}
	if err := write(doc, "full", newTable(sizes["full"]).over); err == nil {
		t.Error("a table without marks was written")
	}
	seen := map[string]bool{}
	for _, r := range allRows {
		if seen[r.title()] {
			t.Errorf("two rows are called %s", r.title())
		}
		seen[r.title()] = true
	}
}
