// Package report writes the incident report: one HTML page that says what happened to
// Redis, what became of each job, what was done about it and what is left to decide. The
// page is complete in itself. It asks no network for anything, and says so to the browser
// in a policy that forbids it; without JavaScript it still tells all but the far end of a
// long table. What it says of jobs is names, places and reasons, never their payloads.
package report

import (
	"bufio"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"time"

	"rqvault/internal/lineage"
	"rqvault/verify"
)

// Data is all that a page tells. Names in it may hold any bytes.
type Data struct {
	Kind     Kind
	Source   string
	Version  string    // of rqvault
	MadeAt   time.Time // when the page was made
	Command  string    // the command line that made it, without passwords
	Snapshot Snapshot
	Lineage  lineage.Judgement
	Then     lineage.Facts // what the server said of itself at the snapshot
	Now      lineage.Facts // and at the comparison
	Compared time.Time     // when live was compared; zero if it was not
	Restored Span          // when jobs were put back; zero if none were
	Policy   string
	Counts   map[verify.Verdict]int
	Meanings map[verify.Verdict]string // each verdict in a few words
	Intact   map[verify.Queue]int      // jobs that Jobs leaves out, since nothing became of them
	Jobs     []Job
	Keys     bool     // Jobs are other keys instead
	Warning  string   // what a reader must know before all else; "" for nothing
	Decide   []Choice // what is left to a person
	Next     []Choice // what to do next
	Drill    *Drill   // only for a drill
}

// Kind is what was done.
type Kind string

// The kinds. A Dry run and a Diff change nothing.
const (
	Diff    Kind = "comparison"
	Dry     Kind = "restore, dry run"
	Applied Kind = "restore"
	Drilled Kind = "drill"
)

// Snapshot is the one compared with.
type Snapshot struct {
	ID     string
	Taken  time.Time
	Via    string
	Atomic bool // it is of one instant
	Jobs   int64
	Keys   int64
}

// Span is a stretch of time.
type Span struct{ From, To time.Time }

// Job is one row: what became of a job, or of another key.
type Job struct {
	DB       int32
	ID       string
	Queue    string
	Status   string
	Verdict  verify.Verdict
	Action   verify.Action
	Result   string // what a restore came to; "" if none was tried
	Reason   string
	Evidence []string // each piece in words
}

// Choice is something for a person to do or to decide, with the command to type.
type Choice struct {
	Title   string
	Why     string
	Names   []string // the jobs it is about, or the first of them
	Count   int      // all of them; 0 if it is about none
	Command string   // "" if no command helps
}

// Drill is what a restore into a private server came to.
type Drill struct {
	Into       string       // where the snapshot was put
	Recovery   float64      // seconds until all was back, as a real recovery would take
	Took       []Took       // every step, the comparison included
	Jobs, Keys int64        // compared
	LeftOut    int64        // keys that a drill does not restore: workers, locks, what has expired
	Different  int64        // jobs and keys that did not come back as they were
	Differs    []Difference // the first of these
}

// Took is how long a step of a drill took.
type Took struct {
	What    string
	Seconds float64
}

// Difference is a job or a key that did not come back as it was.
type Difference struct{ What, Why string }

// Bounds of a page, so that a browser on a phone opens it at once.
const (
	maxRows   = 200_000 // rows that a page carries
	firstRows = 100     // of which stand in it without JavaScript
	maxQueues = 24      // queues in the picture, before the rest is one
	maxNames  = 6       // names listed with a choice
)

//go:embed page.html page.css page.js
var files embed.FS

var (
	style  = mustRead("page.css")
	script = mustRead("page.js")
	page   = template.Must(template.New("page.html").Funcs(words).ParseFS(files, "page.html"))
)

func mustRead(name string) string {
	b, err := files.ReadFile(name)
	if err != nil {
		panic(err) // it is embedded
	}
	return string(b)
}

// policy lets a browser run this page's own style and script, and nothing else. It may
// not load or send anything.
var policy = "default-src 'none'; style-src " + digest(style) + "; script-src " + digest(script) + "; base-uri 'none'; form-action 'none'"

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// view is what the templates see.
type view struct {
	*Data
	Style      template.CSS
	Script     template.JS
	CSP        string
	Headline   []string // sentences
	Figures    []figure
	Timeline   *timeline
	Happened   string
	Facts      []fact
	Bars       []bar
	BarsMore   int // queues that the last bar stands for
	Legend     []share
	Done       []share
	Rows       []Job // those that stand in the page
	Total      int   // all there are
	Carried    int   // those that the page carries
	DrillBars  []took
	DrillTotal string
}

// Write writes the page. Its errors are w's.
func Write(w io.Writer, d *Data) error {
	rows := sorted(d.Jobs)
	v := &view{Data: d, Style: template.CSS(style), Script: template.JS(script), CSP: policy, Headline: d.headline(), Figures: d.figures(),
		Timeline: d.timeline(), Happened: d.happened(), Facts: d.facts(), Legend: d.legend(), Done: d.done(), Total: len(rows)}
	v.Bars, v.BarsMore = d.bars()
	v.DrillBars, v.DrillTotal = d.Drill.took()
	rows = rows[:min(len(rows), maxRows)]
	v.Carried, v.Rows = len(rows), rows[:min(len(rows), firstRows)]
	out := bufio.NewWriterSize(w, 1<<16)
	if err := page.ExecuteTemplate(out, "top", v); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	if err := writeRows(out, rows); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	if err := page.ExecuteTemplate(out, "end", v); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}
