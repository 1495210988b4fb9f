package restore

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
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
	Format    int                      `json:"format"`
	Snapshot  snapshot.ID              `json:"snapshot"`
	Source    string                   `json:"source"`
	CreatedAt time.Time                `json:"created_at"`
	RunID     string                   `json:"run_id"` // of the live process it was made for
	Policy    verify.Policy            `json:"policy"`
	Policies  map[string]verify.Policy `json:"policies,omitempty"` // of single queues
	Lineage   lineage.Judgement        `json:"lineage"`
	Counts    map[verify.Verdict]int   `json:"counts"`
	// Settled are fingerprints, by database, of the jobs that need nothing: see verify.Settled.
	Settled map[int32][]byte `json:"settled,omitempty"`
	Steps   []Step           `json:"steps"`
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
	Evidence []string       `json:"evidence,omitempty"`   // what the verdict rests on
	Decider  verify.Decider `json:"decided_by,omitempty"` // what would settle it, if it is held
	List     string         `json:"list,omitempty"`       // the queue in whose list it stood, its own or not
	Order    int64          `json:"order"`                // rank in the snapshot's queue, lowest runs first
	After    string         `json:"after,omitempty"`      // the id of the queue it must follow; empty for its head
	ExpireAt int64          `json:"expire_at,omitempty"`  // the hash's new expiry, Unix ms; 0: its own
	Seen     *Seen          `json:"seen,omitempty"`       // the job as it was compared, which the guard demands
	Home     *Home          `json:"home,omitempty"`       // where its id waits in live: only the hash is missing
	WaitsFor []string       `json:"waits_for,omitempty"`  // parents that have not ended, though live may not have them
	Raw      *rawNames      `json:"raw,omitempty"`        // of the names above, those that are no UTF-8
	position int64
}

// rawNames carries names that a JSON string cannot, in base64.
type rawNames struct {
	JobID     []byte   `json:"job_id,omitempty"`
	Key       []byte   `json:"key,omitempty"`
	Queue     []byte   `json:"queue,omitempty"`
	List      []byte   `json:"list,omitempty"`
	After     []byte   `json:"after,omitempty"`
	HomeQueue []byte   `json:"home_queue,omitempty"`
	WaitsFor  [][]byte `json:"waits_for,omitempty"` // all of them, if one is none
}

// raw returns what of the step's names needs it, nil for nothing.
func (s *Step) raw() *rawNames {
	r := &rawNames{JobID: verify.Raw(s.JobID), Key: verify.Raw(s.Key), Queue: verify.Raw(s.Queue), List: verify.Raw(s.List), After: verify.Raw(s.After)}
	if s.Home != nil {
		r.HomeQueue = verify.Raw(s.Home.Queue)
	}
	if slices.ContainsFunc(s.WaitsFor, func(p string) bool { return verify.Raw(p) != nil }) {
		for _, p := range s.WaitsFor {
			r.WaitsFor = append(r.WaitsFor, []byte(p))
		}
	}
	if r.JobID == nil && r.Key == nil && r.Queue == nil && r.List == nil && r.After == nil && r.HomeQueue == nil && r.WaitsFor == nil {
		return nil
	}
	return r
}

// cook takes the raw names back.
func (s *Step) cook() {
	r := s.Raw
	if s.Raw = nil; r == nil {
		return
	}
	for _, n := range []struct {
		to   *string
		from []byte
	}{{&s.JobID, r.JobID}, {&s.Key, r.Key}, {&s.Queue, r.Queue}, {&s.List, r.List}, {&s.After, r.After}} {
		if n.from != nil {
			*n.to = string(n.from)
		}
	}
	if s.Home != nil && r.HomeQueue != nil {
		s.Home.Queue = string(r.HomeQueue)
	}
	if r.WaitsFor != nil {
		s.WaitsFor = nil
		for _, p := range r.WaitsFor {
			s.WaitsFor = append(s.WaitsFor, string(p))
		}
	}
}

// Home is a place in live.
type Home struct {
	Kind  job.PlaceKind `json:"kind"`
	Queue string        `json:"queue"`
	Run   string        `json:"run,omitempty"` // of which run, where a run is what is listed
}

// member is what stands there of the job.
func (h *Home) member(id string) string {
	if h.Run == "" {
		return id
	}
	return id + ":" + h.Run
}

// Seen is a job in live: the version it had, its times in Unix microseconds, and where its
// id stood.
type Seen struct {
	Status      job.Status `json:"status"`
	CreatedAt   int64      `json:"created_at"`
	EnqueuedAt  int64      `json:"enqueued_at"`
	StartedAt   int64      `json:"started_at"`
	EndedAt     int64      `json:"ended_at"`
	HeartbeatAt int64      `json:"heartbeat_at"`
	Places      []Home     `json:"places"`
}

func newSeen(r *job.Row) *Seen {
	s := &Seen{Status: r.Status, CreatedAt: r.CreatedAt, EnqueuedAt: r.EnqueuedAt, StartedAt: r.StartedAt, EndedAt: r.EndedAt, HeartbeatAt: r.HeartbeatAt}
	for _, p := range r.Places {
		run, ok := strings.CutPrefix(p.Member, r.ID+":")
		if ok || p.Member == "" {
			s.Places = append(s.Places, Home{p.Kind, p.Queue, run})
		}
	}
	return s
}

func (s *Seen) row() *job.Row {
	return &job.Row{Status: s.Status, CreatedAt: s.CreatedAt, EnqueuedAt: s.EnqueuedAt, StartedAt: s.StartedAt, EndedAt: s.EndedAt, HeartbeatAt: s.HeartbeatAt}
}

// ErrPlan says that a file is no plan this version can follow.
var ErrPlan = errors.New("not a usable plan")

// Marshal writes the plan as a sealed document: its digest comes first, so that a plan
// changed after review is noticed.
func (p *Plan) Marshal() ([]byte, error) {
	p.Format = PlanFormat
	out := *p
	out.Steps = slices.Clone(p.Steps)
	for i := range out.Steps {
		out.Steps[i].Raw = out.Steps[i].raw()
	}
	return snapshot.Seal(out)
}

// ParsePlan checks and reads a plan file.
func ParsePlan(b []byte) (*Plan, error) {
	// A later format may give members another type, which is no damage.
	var head struct {
		Format int `json:"format"`
	}
	if err := snapshot.Unseal(b, &head); err != nil {
		switch {
		case !json.Valid(b):
			return nil, fmt.Errorf("%w: it is not JSON, or was cut", ErrPlan)
		case !bytes.Contains(b[:min(len(b), 64)], []byte(`"digest"`)):
			return nil, fmt.Errorf("%w: it is JSON, but no plan of rqvault's", ErrPlan)
		}
		return nil, fmt.Errorf("%w: it was changed after it was written", ErrPlan)
	}
	if head.Format != PlanFormat {
		return nil, fmt.Errorf("%w: format version %d, this rqvault follows %d", ErrPlan, head.Format, PlanFormat)
	}
	var p Plan
	if err := snapshot.Unseal(b, &p); err != nil {
		return nil, fmt.Errorf("%w: it holds what no plan can", ErrPlan)
	}
	if _, err := snapshot.ParseID(string(p.Snapshot)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPlan, err)
	}
	if p.Policy != verify.AtLeastOnce && p.Policy != verify.AtMostOnce {
		return nil, fmt.Errorf("%w: it names no policy", ErrPlan)
	}
	seen := map[verify.JobKey]bool{}
	for i := range p.Steps {
		s := &p.Steps[i]
		s.cook()
		k := verify.JobKey{DB: s.DB, ID: "job:" + s.JobID}
		if s.Key != "" {
			k.ID = "key:" + s.Key
		}
		if !s.possible() || seen[k] {
			return nil, fmt.Errorf("%w: step %d is impossible", ErrPlan, i)
		}
		seen[k] = true
	}
	return &p, nil
}

// possible reports whether some comparison makes such a step. What a guard does not hold
// back could overwrite a live job, so an action goes with its own guards only.
func (s *Step) possible() bool {
	guards := map[verify.Action][]verify.Guard{
		verify.Restore: {verify.GuardAbsent, verify.GuardWaits, verify.GuardStub}, verify.Requeue: {verify.GuardAbsent, verify.GuardSeen, verify.GuardStub},
		verify.Fail: {verify.GuardAbsent, verify.GuardSeen, verify.GuardStub}, verify.Place: {verify.GuardSame}, verify.Forward: {verify.GuardSeen}, verify.Start: {""}, verify.Hold: {""},
	}
	allowed, known := guards[s.Action]
	switch {
	case (s.JobID == "") == (s.Key == "") || s.DB < 0 || !known || !slices.Contains(allowed, s.Guard) || !slices.Contains(verify.Verdicts, s.Verdict):
		return false
	case (s.Guard == verify.GuardWaits) != (s.Home != nil && s.Action == verify.Restore):
		return false
	case (s.Guard == verify.GuardSeen || s.Guard == verify.GuardStub) != (s.Seen != nil), s.Action == verify.Forward && s.Status == job.RateLimited:
		return false
	case s.Action == verify.Start && s.Status != job.Finished && s.Status != job.Failed && s.Status != job.Started:
		return false
	case (s.Action == verify.Requeue || s.Action == verify.Fail) && s.Status != job.Started:
		return false
	case s.Key != "":
		return s.Guard == verify.GuardAbsent && s.Status == ""
	}
	return s.Status == "" || s.Status == "unknown" || s.Status.Known()
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
	type heading struct {
		db      int32
		queue   string
		verdict verify.Verdict
	}
	under := map[heading]int32{}
	for i := range steps {
		under[heading{steps[i].DB, steps[i].Queue, steps[i].Verdict}] = 0
	}
	for n, h := range slices.SortedFunc(maps.Keys(under), func(a, b heading) int {
		return cmp.Or(cmp.Compare(a.db, b.db), cmp.Compare(a.queue, b.queue), cmp.Compare(a.verdict, b.verdict))
	}) {
		under[h] = int32(n)
	}
	type rank struct { // steps are large: each is moved once
		heading, at int32
		order       int64
	}
	// Of equals the first comes first, where they come by their ids as a comparison has them.
	byID := true
	for i := 1; i < len(steps) && byID; i++ {
		byID = steps[i-1].DB < steps[i].DB || steps[i-1].DB == steps[i].DB && steps[i-1].JobID <= steps[i].JobID
	}
	order := make([]rank, len(steps))
	for i := range steps {
		s := &steps[i]
		order[i] = rank{under[heading{s.DB, s.Queue, s.Verdict}], int32(i), s.Order}
	}
	slices.SortFunc(order, func(a, b rank) int {
		c := cmp.Or(cmp.Compare(a.heading, b.heading), cmp.Compare(a.order, b.order))
		if c == 0 && !byID {
			c = cmp.Compare(steps[a.at].JobID, steps[b.at].JobID)
		}
		return cmp.Or(c, cmp.Compare(a.at, b.at))
	})
	for i := range order {
		if order[i].at == int32(i) {
			continue
		}
		first, at := steps[i], i
		for order[at].at != int32(i) {
			from := int(order[at].at)
			steps[at], order[at].at = steps[from], int32(at)
			at = from
		}
		steps[at], order[at].at = first, int32(at)
	}
}
