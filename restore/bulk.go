package restore

import (
	"context"
	"fmt"
	"time"

	"rqvault/internal/job"
	"rqvault/internal/keyspace"
	"rqvault/verify"
)

// parcel is what bulk.lua is told of one job: of one that live has nothing of, and that is
// in one place at most.
type parcel struct {
	id, hash  string
	place     string // the queue's list, or the registry; "" for none
	what      string // the ledger's text of a job for that list, or its score in that registry
	registry  bool
	expireAt  int64
	payload   []byte
	stream    string // the results, "" for none
	streamEnd int64  // their expiry
	results   []byte
}

// held reports whether the place is a queue's list.
func (p *parcel) held() bool { return p.place != "" && !p.registry }

// size is how many bytes of it go to the server, about.
func (p *parcel) size() int { return len(p.payload) + len(p.results) + 2*len(p.id) + len(p.what) }

// parcel makes the parcel of a job, or none if the job wants a closer look.
func (w *writer) parcel(ctx context.Context, row *job.Row, s *Step) (*parcel, error) {
	hash := row.Part(job.HashPart)
	if w.fields || hash == nil || s.Action != verify.Restore || s.Guard != verify.GuardAbsent || row.Status == job.Deferred || s.ExpireAt != 0 {
		return nil, nil
	}
	p := &parcel{id: row.ID, hash: w.schema.PartKey(row.ID, job.HashPart), expireAt: hash.ExpireAt}
	if !w.placed(p, row, s) {
		return nil, nil
	}
	rec, err := w.record(ctx, row, hash, keyspace.Hash)
	if err != nil {
		return nil, err
	}
	if p.payload = payload(rec); p.payload == nil {
		return nil, nil
	}
	if s.held() {
		texts, err := w.texts(rec)
		if err != nil {
			return nil, fmt.Errorf("read the hash of job %q: %w", s.JobID, err)
		}
		p.what = sign(stateHeld, w.now) + versionText(texts)
	}
	for i := range row.Parts {
		part := &row.Parts[i]
		switch {
		case part.Name == job.DependenciesPart || part.Name == job.DependentsPart:
			return nil, nil
		case part.Name != job.ResultsPart || part.ExpireAt != 0 && part.ExpireAt <= w.now:
			continue
		}
		rec, err := w.record(ctx, row, part, keyspace.Stream)
		if err != nil {
			return nil, err
		}
		if p.results = payload(rec); p.results == nil {
			return nil, nil
		}
		p.stream, p.streamEnd = w.schema.PartKey(row.ID, job.ResultsPart), part.ExpireAt
	}
	return p, nil
}

// placed notes the job's place. It reports whether that is all of its places that come back.
func (w *writer) placed(p *parcel, row *job.Row, s *Step) bool {
	if s.held() {
		p.place = w.schema.PlaceKey(job.InQueue, s.List)
	}
	for i := range row.Places {
		switch at := &row.Places[i]; at.Kind {
		case job.InFinished, job.InFailed, job.InScheduled, job.InCanceled, job.InReady:
			if p.place != "" {
				return false
			}
			p.place, p.what, p.registry = w.schema.PlaceKey(at.Kind, at.Queue), scoreText(at.Score), true
		case job.InDeferred, job.InGroup:
			return false
		}
	}
	return true
}

// farOff is how far off an expiry has to be for nobody to ask whether it has passed while the
// job was on its way: longer than any call waits.
const farOff = time.Hour

// bulkCall puts parcels together, which are in the order of their places.
func (w *writer) bulkCall(batch []pending) Call {
	n := len(batch)
	keys := append(make([]string, 0, 2+2*n), w.ledger, w.schema.QueuesKey())
	args := append(make([]any, 0, 9+7*n), w.life, n, 0, 0, 0, 0, w.present().Add(farOff).UnixMilli())
	counts := [4]int{} // expiries, registries, lists, streams
	placed := any(sign(statePlaced, w.now))
	for i := range batch {
		p := batch[i].parcel
		keys = append(keys, p.hash)
		args = append(args, JobEntry(p.id))
		if p.held() {
			args = append(args, p.what)
		} else {
			args = append(args, placed)
		}
	}
	for i := range batch {
		args = append(args, batch[i].parcel.payload)
	}
	for i := range batch {
		if p := batch[i].parcel; p.expireAt != 0 {
			args = append(args, i+1, p.expireAt)
			counts[0]++
		}
	}
	for i := range batch {
		if p := batch[i].parcel; p.stream != "" {
			keys = append(keys, p.stream)
			counts[3]++
		}
	}
	places(batch, func(first, last int, p *parcel) {
		if p.registry {
			keys, args = append(keys, p.place), append(args, first+1, last+1)
			for i := first; i <= last; i++ {
				args = append(args, batch[i].parcel.what, batch[i].parcel.id)
			}
			counts[1]++
		}
	})
	places(batch, func(first, last int, p *parcel) {
		if p.held() {
			args = append(args, first+1, last+1, p.place)
			counts[2]++
		}
	})
	for i := range batch {
		if p := batch[i].parcel; p.stream != "" {
			args = append(args, i+1, p.streamEnd, p.results)
		}
	}
	for i, n := range counts {
		args[2+i] = n
	}
	return Call{Keys: keys, Args: args}
}

// places tells of the jobs of each place: of the first and the last, by their numbers, and
// of one of them.
func places(batch []pending, each func(first, last int, p *parcel)) {
	for first := 0; first < len(batch); {
		last := first
		for last+1 < len(batch) && batch[last+1].parcel.place == batch[first].parcel.place {
			last++
		}
		each(first, last, batch[first].parcel)
		first = last + 1
	}
}

// untouched reads what bulk.lua answered: the jobs, of so many, that it left for a closer
// look, by their numbers from 0, ascending.
func untouched(reply any, jobs int) ([]int, error) {
	if err, ok := reply.(error); ok {
		return nil, err
	}
	list, ok := reply.([]any)
	if !ok || len(list) > jobs {
		return nil, errReply
	}
	left := make([]int, len(list))
	for i, v := range list {
		n, ok := v.(int64)
		left[i] = int(n - 1)
		if !ok || n < 1 || n > int64(jobs) || i > 0 && left[i] <= left[i-1] {
			return nil, errReply
		}
	}
	return left, nil
}

// bulkReply notes what became of the jobs of one call, and returns those left untouched.
func (a *applier) bulkReply(jobs []pending, reply any) (left []pending) {
	numbers, err := untouched(reply, len(jobs))
	if err != nil {
		for i := range jobs {
			a.outcome(jobs[i].task.Step, Failed, plain(err.Error()))
			a.progress()
		}
		return nil
	}
	for i := range jobs {
		if len(numbers) > 0 && numbers[0] == i {
			left, numbers = append(left, jobs[i]), numbers[1:]
			continue
		}
		a.prepared(jobs[i])
		a.progress()
	}
	return left
}
