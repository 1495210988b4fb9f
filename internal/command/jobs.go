package command

import (
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"rqvault/internal/job"
	"rqvault/internal/snapshot"
)

// jobOut is one element of jobs --json. It never holds arguments or results.
type jobOut struct {
	DB         int32      `json:"db"`
	JobID      string     `json:"job_id"`
	Queue      string     `json:"queue"`
	Status     job.Status `json:"status"`
	Exists     bool       `json:"exists"`
	Func       string     `json:"func"`
	CreatedAt  *time.Time `json:"created_at"`
	EnqueuedAt *time.Time `json:"enqueued_at"`
	StartedAt  *time.Time `json:"started_at"`
	EndedAt    *time.Time `json:"ended_at"`
	ExpireAt   *time.Time `json:"expire_at"`
	Parents    []string   `json:"parents,omitempty"`
	Places     []placeOut `json:"places"`
	Problem    string     `json:"problem,omitempty"`
}

func (e *env) jobsCommand() *cli.Command {
	return &cli.Command{
		Name:      "jobs",
		Usage:     "find jobs in a snapshot",
		ArgsUsage: "[SNAPSHOT]",
		Flags: flags(storeFlags(), keyFlags(), []cli.Flag{
			&cli.StringSliceFlag{Name: "queue", Usage: "only of this queue; may be repeated"},
			&cli.StringSliceFlag{Name: "status", Usage: "only with this status; may be repeated"},
			&cli.StringSliceFlag{Name: "id", Usage: "only this job; may be repeated"},
			&cli.StringFlag{Name: "func", Usage: "only where the function's name contains this"},
			&cli.StringFlag{Name: "since", Usage: "only touched at or after this: RFC 3339, or a duration before the snapshot such as 2h"},
			&cli.StringFlag{Name: "until", Usage: "only touched before this, likewise"},
			&cli.IntFlag{Name: "limit", Usage: "at most so many; 0 for all", Value: 0},
			&cli.StringFlag{Name: "temp-dir", Usage: "`DIR` for temporary files", EnvVars: []string{"RQVAULT_TEMP_DIR"}},
		}, outputFlags()),
		Action: e.jobs,
	}
}

// jobFilter is what jobs was asked for.
type jobFilter struct {
	queues, statuses, ids []string
	function              string
	since, until          int64 // Unix microseconds, 0 none
}

func (f *jobFilter) has(r *job.Row) bool {
	v := r.Version()
	return (len(f.queues) == 0 || slices.Contains(f.queues, queueOf(r))) &&
		(len(f.statuses) == 0 || slices.Contains(f.statuses, string(r.Status))) &&
		(len(f.ids) == 0 || slices.Contains(f.ids, r.ID)) &&
		(f.function == "" || strings.Contains(r.Func, f.function)) &&
		(f.since == 0 || v >= f.since) && (f.until == 0 || v < f.until)
}

// queueOf is the job's queue, or where an id without a hash stands.
func queueOf(r *job.Row) string {
	if r.Queue == "" && len(r.Places) > 0 {
		return r.Places[0].Queue
	}
	return r.Queue
}

// instant reads a time, or a duration before the one given.
func instant(flag, s string, before time.Time) (int64, error) {
	if s == "" {
		return 0, nil
	}
	if d, err := time.ParseDuration(s); err == nil {
		return before.Add(-d).UnixMicro(), nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return 0, usage("--%s %q is neither a time such as 2026-11-23T06:00:00Z nor a duration such as 2h", flag, s)
	}
	return t.UnixMicro(), nil
}

func (e *env) jobs(c *cli.Context) error {
	for _, s := range c.StringSlice("status") {
		if !job.Status(s).Known() {
			return usage("--status %s is no status of RQ", s)
		}
	}
	if c.Int("limit") < 0 {
		return usage("--limit %d: use 0 for all jobs", c.Int("limit"))
	}
	cat, m, err := e.pick(c)
	if err != nil {
		return err
	}
	f := jobFilter{queues: c.StringSlice("queue"), statuses: c.StringSlice("status"), ids: c.StringSlice("id"), function: c.String("func")}
	if f.since, err = instant("since", c.String("since"), m.CreatedAt); err != nil {
		return err
	}
	if f.until, err = instant("until", c.String("until"), m.CreatedAt); err != nil {
		return err
	}
	p := e.picked(c, cat, m)
	defer p.close()
	rows := p.all
	if n := len(f.ids); n > 0 && n <= mostJobs {
		found, err := p.of(c.Context, f.ids)
		if err != nil {
			return err
		}
		rows = few(found)
	} else if err := p.fetch(); err != nil {
		return err
	}
	asked := &seen{queues: map[string]bool{}}
	for _, q := range f.queues {
		asked.queues[q] = false
	}
	all := noting(filtered(rows(), &f, c.Int("limit")), asked)
	if c.Bool("json") {
		err = e.jobJSON(all)
	} else {
		err = e.jobLines(all, c.Int("limit"))
	}
	if err == nil && m.Locked() == nil {
		err = asked.missing(m)
	}
	return err
}

// noting remembers of which queues there were jobs.
func noting(rows iter.Seq2[*job.Row, error], s *seen) iter.Seq2[*job.Row, error] {
	return func(yield func(*job.Row, error) bool) {
		for r, err := range rows {
			if err == nil {
				s.queues[queueOf(r)] = true
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

func filtered(rows iter.Seq2[*job.Row, error], f *jobFilter, limit int) iter.Seq2[*job.Row, error] {
	return func(yield func(*job.Row, error) bool) {
		n := 0
		for r, err := range rows {
			if err == nil && !f.has(r) {
				continue
			}
			n++
			if !yield(r, err) || n == limit {
				return
			}
		}
	}
}

// rows fetches a snapshot's job index, proven, and returns a reader of it from the
// beginning. Call done when it is no longer needed.
func (e *env) rows(c *cli.Context, cat *snapshot.Catalog, m *snapshot.Manifest) (rows func() iter.Seq2[*job.Row, error], done func(), err error) {
	p := e.picked(c, cat, m)
	if err := p.fetch(); err != nil {
		return nil, nil, err
	}
	return p.all, p.close, nil
}

func (e *env) jobLines(rows iter.Seq2[*job.Row, error], limit int) error {
	t := newTable(e.out, "JOB", "QUEUE", "STATUS", "PLACE", "ENQUEUED", "FUNCTION")
	n := 0
	for r, err := range rows {
		if err != nil {
			return err
		}
		n++
		status := string(r.Status)
		if !r.Exists {
			status = "(no hash)"
		}
		t.row(r.ID, queueOf(r), status, placeText(r), timeText(r.EnqueuedAt), r.Func)
	}
	if err := t.flush(); err != nil {
		return err
	}
	if n == limit {
		fmt.Fprintf(e.err, "the first %s; --limit 0 shows all\n", plural(int64(n), "job"))
		return nil
	}
	fmt.Fprintf(e.err, "%s\n", plural(int64(n), "job"))
	return nil
}

func placeText(r *job.Row) string {
	var texts []string
	for _, p := range r.Places {
		if p.Kind.Ordered() {
			texts = append(texts, fmt.Sprintf("%s #%d", p.Kind, p.Position))
		} else {
			texts = append(texts, string(p.Kind))
		}
	}
	return strings.Join(texts, ", ")
}

func timeText(us int64) string {
	if us == 0 {
		return "-"
	}
	return time.UnixMicro(us).UTC().Format(time.RFC3339)
}

func (e *env) jobJSON(rows iter.Seq2[*job.Row, error]) error {
	out := []jobOut{}
	for r, err := range rows {
		if err != nil {
			return err
		}
		out = append(out, jobOut{DB: r.DB, JobID: r.ID, Queue: queueOf(r), Status: r.Status, Exists: r.Exists, Func: r.Func,
			CreatedAt: timeOut(r.CreatedAt), EnqueuedAt: timeOut(r.EnqueuedAt), StartedAt: timeOut(r.StartedAt), EndedAt: timeOut(r.EndedAt),
			ExpireAt: timeOut(r.ExpireAt * 1000), Parents: r.Parents, Places: placesOut(r.Places), Problem: r.Problem})
	}
	return e.printJSON(out)
}

// placeOut is a place in JSON, where an endless score has to be a string.
type placeOut struct {
	Kind     job.PlaceKind `json:"kind"`
	Queue    string        `json:"queue"`
	Position *int64        `json:"position,omitempty"`
	Score    any           `json:"score,omitempty"`
}

func placesOut(places []job.Place) []placeOut {
	out := make([]placeOut, len(places))
	for i, p := range places {
		out[i] = placeOut{Kind: p.Kind, Queue: p.Queue}
		switch {
		case p.Kind.Ordered():
			out[i].Position = &p.Position
		case math.IsInf(p.Score, 0):
			out[i].Score = fmt.Sprintf("%+f", p.Score)
		default:
			out[i].Score = p.Score
		}
	}
	return out
}

func timeOut(us int64) *time.Time {
	if us == 0 {
		return nil
	}
	t := time.UnixMicro(us).UTC()
	return &t
}
