package restore

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"rqvault/internal/job"
	"rqvault/internal/lineage"
	"rqvault/internal/snapshot"
	"rqvault/verify"
)

// PlanFormat is the version of the plan files this code writes and reads.
const PlanFormat = 1

// Plan is what a restore would do, as a file that people review. It names jobs, never
// their payloads: those stay in the snapshot.
type Plan struct {
	Format    int                    `json:"format"`
	Snapshot  snapshot.ID            `json:"snapshot"`
	Source    string                 `json:"source"`
	CreatedAt time.Time              `json:"created_at"`
	RunID     string                 `json:"run_id"` // of the live process it was made for
	Policy    verify.Policy          `json:"policy"`
	Lineage   lineage.Judgement      `json:"lineage"`
	Counts    map[verify.Verdict]int `json:"counts"`
	Steps     []Step                 `json:"steps"`
}

// Step is one job to act on, or one that a person must decide about.
type Step struct {
	DB       int32          `json:"db"`
	JobID    string         `json:"job_id,omitempty"`
	Key      string         `json:"key,omitempty"` // instead of a job: any other key
	Queue    string         `json:"queue"`
	Status   job.Status     `json:"status"`
	Verdict  verify.Verdict `json:"verdict"`
	Action   verify.Action  `json:"action"`
	Guard    verify.Guard   `json:"guard,omitempty"`
	Reason   string         `json:"reason"`
	Order    int64          `json:"order"`               // rank in the snapshot's queue, lowest runs first
	After    string         `json:"after,omitempty"`     // the id of the queue it must follow; empty for its head
	InPlace  bool           `json:"in_place"`            // its id stands in live where it must: only the hash is missing
	WaitsFor []string       `json:"waits_for,omitempty"` // parents that have not ended, though live may not have them
	position int64
}

// ErrPlan says that a file is no plan this version can follow.
var ErrPlan = errors.New("not a usable plan")

// Marshal writes the plan as a sealed document: its digest comes first, so that a plan
// changed after review is noticed.
func (p *Plan) Marshal() ([]byte, error) {
	p.Format = PlanFormat
	return snapshot.Seal(p)
}

// ParsePlan checks and reads a plan file.
func ParsePlan(b []byte) (*Plan, error) {
	var p Plan
	if err := snapshot.Unseal(b, &p); err != nil {
		if !json.Valid(b) {
			return nil, fmt.Errorf("%w: it is not JSON, or was cut", ErrPlan)
		}
		return nil, fmt.Errorf("%w: it was changed after it was written", ErrPlan)
	}
	if p.Format != PlanFormat {
		return nil, fmt.Errorf("%w: format version %d, this rqvault follows %d", ErrPlan, p.Format, PlanFormat)
	}
	if _, err := snapshot.ParseID(string(p.Snapshot)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPlan, err)
	}
	for i := range p.Steps {
		s := &p.Steps[i]
		known := slices.Contains([]verify.Action{verify.Restore, verify.Place, verify.Hold}, s.Action)
		if (s.JobID == "") == (s.Key == "") || !known || s.DB < 0 {
			return nil, fmt.Errorf("%w: step %d is impossible", ErrPlan, i)
		}
	}
	return &p, nil
}

// Selection narrows a plan. An empty list selects everything.
type Selection struct {
	Queues, Jobs []string
	Statuses     []job.Status
}

// Has reports whether the finding is selected.
func (s *Selection) Has(f *verify.Finding) bool {
	return (len(s.Queues) == 0 || slices.Contains(s.Queues, f.Queue)) &&
		(len(s.Jobs) == 0 || slices.Contains(s.Jobs, f.JobID)) &&
		(len(s.Statuses) == 0 || slices.Contains(s.Statuses, f.Status))
}

// Sort puts steps into the order in which people read them: by queue, verdict, then
// place.
func Sort(steps []Step) {
	slices.SortStableFunc(steps, func(a, b Step) int {
		return cmp.Or(cmp.Compare(a.DB, b.DB), cmp.Compare(a.Queue, b.Queue),
			cmp.Compare(a.Verdict, b.Verdict), cmp.Compare(a.Order, b.Order), cmp.Compare(a.JobID, b.JobID))
	})
}
