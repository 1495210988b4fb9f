// Command bench measures rqvault against what people would use instead, on the same data
// in one run, and prints one table of ratios: make bench, make bench-full.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	size := flag.String("size", "quick", "quick: 50,000 jobs; full: 2,000,000")
	runs := flag.Int("runs", 5, "how often each row is measured")
	only := flag.String("only", "", "only rows whose names contain this")
	work := flag.String("work", filepath.Join(os.TempDir(), "rqvault-bench"), "`DIR` for datasets, servers and stores")
	doc := flag.String("doc", "", "write the table into this `FILE`, between its marks")
	program := flag.String("program", "bin/rqvault", "the rqvault to measure")
	peak := flag.Bool("memory", false, "measure the peak memory of backups of large synthetic dumps instead")
	saved := flag.String("save", "", "for -memory: take one backup of a dump of so many `KEYS,LISTED,LARGE` values")
	flag.Parse()
	if err := chosen(*peak, *saved, *work, *doc, func() error { return run(*size, *runs, *only, *work, *doc, *program) }); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// chosen does what the flags ask for: ratios, or memory.
func chosen(peak bool, saved, work, doc string, ratios func() error) error {
	switch {
	case saved != "":
		return save(work, saved)
	case peak:
		if err := os.MkdirAll(work, 0o700); err != nil {
			return err
		}
		return memory(work, doc)
	}
	return ratios()
}

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

func run(size string, runs int, only, work, doc, program string) error {
	set, ok := sizes[size]
	if !ok {
		return fmt.Errorf("-size %s: use quick or full", size)
	}
	program, err := filepath.Abs(program)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(work, 0o700); err != nil {
		return err
	}
	data, err := prepare(work, set)
	if err != nil {
		return err
	}
	b := &bench{work: work, data: data, program: program, set: set, runs: runs}
	var done []result
	for _, r := range slices.Concat(rows, restoreRows) {
		if !strings.Contains(r.name, only) {
			continue
		}
		res, err := b.measure(r)
		if err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		done = append(done, res)
		say("%s", res)
	}
	table := tableOf(set, runs, done)
	fmt.Println(table)
	if doc == "" {
		return nil
	}
	return write(doc, set.name, table)
}

// result is what one row came to.
type result struct {
	row
	ours, peers, ratios []float64
}

func (b *bench) measure(r row) (result, error) {
	res := result{row: r}
	if r.before != nil {
		if err := r.before(b); err != nil {
			return res, err
		}
	}
	var err error
	for range b.runs {
		var o, p float64
		if o, p, err = r.run(b); err != nil {
			break
		}
		res.ours, res.peers, res.ratios = append(res.ours, o), append(res.peers, p), append(res.ratios, o/p)
	}
	if r.after != nil {
		if afterErr := r.after(b); err == nil {
			err = afterErr
		}
	}
	return res, err
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}

func (r result) String() string {
	met := "met"
	if median(r.ratios) > r.goal {
		met = "NOT met"
	}
	unit := r.unit
	if unit == "" {
		unit = "s"
	}
	return fmt.Sprintf("| %s | %.3g %s | %s: %.3g %s | %.3f (%.3f–%.3f) | ≤ %.3g | %s |", r.name, median(r.ours), unit, r.peer, median(r.peers), unit,
		median(r.ratios), slices.Min(r.ratios), slices.Max(r.ratios), r.goal, met)
}

func tableOf(set dataset, runs int, all []result) string {
	var t strings.Builder
	fmt.Fprintf(&t, "%d jobs and %d other keys, medians of %d runs, ratio with its least and greatest:\n\n", set.jobs, set.other, runs)
	t.WriteString("| path | rqvault | peer | ratio | goal | |\n|---|---|---|---|---|---|\n")
	for _, r := range all {
		t.WriteString(r.String() + "\n")
	}
	return t.String()
}

// write puts the table between the marks of that name in a document.
func write(doc, name, table string) error {
	b, err := os.ReadFile(doc)
	if err != nil {
		return err
	}
	begin, end := "<!-- bench "+name+" -->\n", "<!-- end -->"
	text := string(b)
	i := strings.Index(text, begin)
	if i < 0 {
		return fmt.Errorf("%s has no mark %q", doc, begin)
	}
	i += len(begin)
	j := strings.Index(text[i:], end)
	if j < 0 {
		return fmt.Errorf("%s has no mark %q", doc, end)
	}
	return os.WriteFile(doc, []byte(text[:i]+table+text[i+j:]), 0o600)
}
