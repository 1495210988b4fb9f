package verify

import (
	"context"
	"errors"
	"slices"

	"rqvault/internal/job"
)

// mostDoubted is how many neighbours may have been enqueued again since the snapshot.
const mostDoubted = 16

// neighbours looks for the next job before each one to act on that stands in the same queue
// on both sides, and tells of it.
func (f *Few) neighbours(ctx context.Context, r *Result, survivor func(db int32, queue string, position int64)) error {
	spots := map[queueName][]int64{}
	for fd := range pieces(append(slices.Clip(r.Pieces), r.Findings)).all() {
		if p := fd.Stood; fd.Action != None && p != nil && p.Kind == job.InQueue {
			spots[queueName{fd.DB, p.Queue}] = append(spots[queueName{fd.DB, p.Queue}], p.Position)
		}
	}
	for q, positions := range spots {
		slices.Sort(positions)
		if positions[len(positions)-1] == 0 {
			continue // nothing stood before the head
		}
		listed, err := f.Listed(ctx, q.db, q.queue)
		if err != nil {
			return err
		}
		if len(listed) == 0 {
			continue
		}
		order, err := f.Order(ctx, q.db, q.queue)
		if err != nil {
			return err
		}
		scan := &neighbourScan{f: f, queue: q, order: order, listed: listed, tell: survivor}
		for _, at := range positions {
			if err := scan.before(ctx, at); err != nil {
				return err
			}
		}
	}
	return nil
}

// neighbourScan goes through one queue of the snapshot.
type neighbourScan struct {
	f       *Few
	queue   queueName
	order   []string
	listed  map[string]bool // in live
	tell    func(db int32, queue string, position int64)
	floor   int64 // what stood before it has been looked at
	doubted int
}

// before tells of the nearest survivor before a position, unless that stood before the
// position asked for last and was told of then.
func (s *neighbourScan) before(ctx context.Context, position int64) error {
	if position > int64(len(s.order)) {
		return ErrWhole // the list is not the one that the index speaks of
	}
	for at := position - 1; at >= s.floor; at-- {
		id := s.order[at]
		if !s.listed[id] {
			continue
		}
		told, err := s.survives(ctx, id, at)
		if err != nil {
			return err
		}
		if told {
			break
		}
		if s.doubted++; s.doubted > mostDoubted {
			return ErrWhole
		}
	}
	s.floor = position
	return nil
}

// survives reports whether the job of a listed id is the one that stood there.
func (s *neighbourScan) survives(ctx context.Context, id string, at int64) (bool, error) {
	rows, err := s.f.Rows(ctx, []string{id})
	if err != nil {
		return false, err
	}
	i := slices.IndexFunc(rows, func(r *job.Row) bool { return r.DB == s.queue.db })
	if i < 0 {
		return false, ErrWhole
	}
	image, err := s.f.Image(ctx, Wanted{IDs: []string{id}, Queues: []string{s.queue.queue}})
	if err != nil {
		return false, err
	}
	told := false
	c := Context{Survivor: func(db int32, queue string, position int64) {
		if queue == s.queue.queue && position == at {
			told = true
			s.tell(db, queue, position)
		}
	}}
	for l, rowErr := range image.Rows() {
		if err = rowErr; err != nil {
			break
		}
		if l.DB == s.queue.db {
			c.survivor(rows[i], l)
		}
	}
	if told {
		s.f.rows[JobKey{s.queue.db, id}] = rows[i]
		delete(s.f.near, id)
	}
	return told, errors.Join(err, image.Close())
}
