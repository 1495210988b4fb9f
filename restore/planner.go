package restore

import (
	"cmp"
	"slices"

	"rqvault/internal/job"
	"rqvault/verify"
)

// noPlace is the position of a queued job that the snapshot found in no list: a worker
// had just taken it, so it goes to the very head.
const noPlace = -1

// headRank and listRank make positions of intermediate list and queue comparable: what
// was popped but not prepared comes before what still waited.
const (
	headRank = 0
	listRank = 1 << 40
)

// queueKey names a queue across databases.
type queueKey struct {
	db   int32
	name string
}

func (k queueKey) compare(o queueKey) int {
	return cmp.Or(cmp.Compare(k.db, o.db), cmp.Compare(k.name, o.name))
}

// Survivors notes which ids of the snapshot's queues are still listed in live, so that
// lost ones can be put back between them.
type Survivors struct {
	at map[queueKey]*bits
}

// bits is a set of small numbers.
type bits struct{ words []uint64 }

func (b *bits) add(n int64) {
	for int64(len(b.words)) <= n/64 {
		b.words = append(b.words, 0)
	}
	b.words[n/64] |= 1 << (n % 64)
}

// before returns the largest member below n.
func (b *bits) before(n int64) (int64, bool) {
	for n = min(n, int64(len(b.words))*64) - 1; n >= 0; n-- {
		if n%64 == 63 && b.words[n/64] == 0 {
			n -= 63
			continue
		}
		if b.words[n/64]&(1<<(n%64)) != 0 {
			return n, true
		}
	}
	return 0, false
}

// NewSurvivors returns an empty set.
func NewSurvivors() *Survivors { return &Survivors{at: map[queueKey]*bits{}} }

// Note records that the id at that position of the snapshot's queue is listed in live.
func (s *Survivors) Note(db int32, queue string, position int64) {
	k := queueKey{db, queue}
	if s.at[k] == nil {
		s.at[k] = &bits{}
	}
	s.at[k].add(position)
}

// Planner gathers findings and makes a plan's steps of them.
type Planner struct {
	sel        Selection
	steps      []Step
	survivors  *Survivors
	follows    map[int][]string       // by step, the jobs it waits for at the snapshot
	unfinished map[verify.JobKey]bool // jobs to act on that others wait for and that have not ended, selected or not
	counts     map[verify.Verdict]int
}

// NewPlanner returns a Planner for the findings that sel has.
func NewPlanner(sel Selection) *Planner {
	return &Planner{sel: sel, survivors: NewSurvivors(), follows: map[int][]string{}, unfinished: map[verify.JobKey]bool{}, counts: map[verify.Verdict]int{}}
}

// Survivors is to be told of ids still in their queue, as verify.Context.Survivor.
func (p *Planner) Survivors() *Survivors { return p.survivors }

// Add takes all findings, piece by piece, in order. It is called once, and lets go of each
// piece when it has it.
func (p *Planner) Add(pieces ...[]verify.Finding) {
	n := 0
	for _, piece := range pieces {
		for i := range piece {
			f := &piece[i]
			if f.Action != verify.None && p.sel.Has(f) {
				n++
				for _, parent := range f.Follows {
					p.unfinished[verify.JobKey{DB: f.DB, ID: parent}] = false
				}
			}
		}
	}
	p.steps = slices.Grow(p.steps, n)
	for at, piece := range pieces {
		for i := range piece {
			p.add(&piece[i])
		}
		pieces[at] = nil
	}
}

func (p *Planner) add(f *verify.Finding) {
	p.counts[f.Verdict]++
	if f.Action == verify.None {
		return
	}
	if _, awaited := p.unfinished[f.Key()]; awaited && !f.Status.Ended() {
		p.unfinished[f.Key()] = true
	}
	if p.sel.Has(f) {
		s := Step{DB: f.DB, JobID: f.JobID, Queue: f.Queue, Status: f.Status, Verdict: f.Verdict,
			Action: f.Action, Guard: f.Guard, Reason: f.Reason, Decider: f.DecidedBy, Evidence: f.Evidence, ExpireAt: f.ExpireAt, position: noPlace}
		if f.Home != nil {
			s.Home = &Home{Kind: f.Home.Kind, Queue: f.Home.Queue}
		}
		if f.Guard == verify.GuardSeen || f.Guard == verify.GuardStub {
			s.Seen = newSeen(f.Seen)
		}
		s.rank(f.Stood)
		if len(f.Follows) > 0 {
			p.follows[len(p.steps)] = f.Follows
		}
		p.steps = append(p.steps, s)
	}
}

// Counts is how many findings had each verdict, selected or not.
func (p *Planner) Counts() map[verify.Verdict]int { return p.counts }

// Steps finds each job's place among those that survived, for which it reads the
// snapshot's index if any did, and returns the steps in the order for people.
func (p *Planner) Steps(rows func() verify.Rows) ([]Step, error) {
	pivots := map[queueKey]map[int64][]*Step{}
	for i := range p.steps {
		s := &p.steps[i]
		for _, parent := range p.follows[i] {
			if p.unfinished[verify.JobKey{DB: s.DB, ID: parent}] {
				s.WaitsFor = append(s.WaitsFor, parent)
			}
		}
		k := queueKey{s.DB, s.List}
		if s.position < 0 || p.survivors.at[k] == nil {
			continue
		}
		if at, ok := p.survivors.at[k].before(s.position); ok {
			if pivots[k] == nil {
				pivots[k] = map[int64][]*Step{}
			}
			pivots[k][at] = append(pivots[k][at], s)
		}
	}
	if err := namePivots(pivots, rows); err != nil {
		return nil, err
	}
	Sort(p.steps)
	return p.steps, nil
}

// rank notes where in its queue the job stood.
func (s *Step) rank(p *job.Place) {
	s.Order, s.position, s.List = headRank, noPlace, s.Queue
	if p == nil {
		return
	}
	if p.Kind == job.InQueue {
		s.Order, s.position = listRank+p.Position, p.Position
	} else {
		s.Order = headRank + 1 + p.Position
	}
	if p.Kind != job.InCompact { // whose ids belong to their jobs' own queues
		s.List = p.Queue
	}
}

func namePivots(pivots map[queueKey]map[int64][]*Step, rows func() verify.Rows) error {
	if len(pivots) == 0 {
		return nil
	}
	for row, err := range rows() {
		if err != nil {
			return err
		}
		for i := range row.Places {
			p := &row.Places[i]
			if p.Kind != job.InQueue {
				continue
			}
			for _, s := range pivots[queueKey{row.DB, p.Queue}][p.Position] {
				s.After = row.ID
			}
		}
	}
	return nil
}
