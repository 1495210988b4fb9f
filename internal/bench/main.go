// Command bench measures rqvault against what people would use instead, on the same data
// in one run, and prints one table of ratios: make bench, make bench-full.
package main

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	size := flag.String("size", "quick", "quick: 50,000 jobs; full: 2,000,000")
	runs := flag.Int("runs", 5, "how often each row is measured")
	only := flag.String("only", "", "only rows whose names contain this, or one of several `PARTS` with ; between them")
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
	b := &bench{work: work, data: data, program: program, set: set, runs: runs, peaks: map[string][]float64{}, floors: map[string][]floor{}}
	table := newTable(set)
	for _, r := range allRows {
		if !slices.ContainsFunc(strings.Split(only, ";"), func(part string) bool { return strings.Contains(r.title(), part) }) {
			continue
		}
		if _, err := exec.LookPath(r.needs); r.needs != "" && err != nil {
			say("%s is not on PATH: left out: %s", r.needs, r.title())
			continue
		}
		res, err := b.measure(r)
		if err != nil {
			return fmt.Errorf("%s: %w", r.title(), err)
		}
		say("%s", res)
		table.lines[r.title()] = res.String()
		if doc == "" {
			continue
		}
		if err := write(doc, set.name, table.over); err != nil {
			return err
		}
	}
	fmt.Println(table)
	return nil
}

// allRows are in the order of the table.
var allRows = slices.Concat(rows, neighbourRows, restoreRows, floorRows)

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
	for range min(b.runs, cmp.Or(r.runs, b.runs)) {
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
