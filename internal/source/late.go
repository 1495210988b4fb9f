package source

import (
	"context"
	"maps"
	"slices"

	"rqvault/internal/job"
	"rqvault/internal/keyspace"
)

// listKinds are the places that a queue's own lists and registries are.
var listKinds = append([]job.PlaceKind{job.InQueue, job.InIntermediate, job.InWip}, registryKinds...)

// addLate adds the lists and registries of every queue that is known now to those that SCAN
// came by. It promises only keys that were there all the time, and a list is gone while its
// queue is empty, as a registry is before its first job.
func (r *reader) addLate(ctx context.Context) bool {
	queues := map[string]bool{}
	for _, name := range r.late {
		r.noteQueue(queues, name)
	}
	for rec, err := range Named(ctx, r.s, r.db, [][]byte{[]byte(r.schema.QueuesKey())}) {
		if rec != nil && (err != nil || rec.Kind != keyspace.Set) {
			continue // what is wrong with it, the reading of the key itself tells
		}
		var lists []string
		if err == nil {
			lists, err = Members(rec)
		}
		if err != nil {
			r.yield(nil, err)
			return false
		}
		for _, list := range lists {
			r.noteQueue(queues, []byte(list))
		}
	}
	for _, q := range slices.Sorted(maps.Keys(queues)) {
		for _, kind := range listKinds {
			if name := []byte(r.schema.PlaceKey(kind, q)); !r.again(name) {
				r.late = append(r.late, name)
			}
		}
	}
	return true
}

// readLate reads what lists ids, after the jobs themselves.
func (r *reader) readLate(ctx context.Context) bool {
	for d, err := range r.s.Dump(ctx, r.db, r.late) {
		if !r.one(d, err, false) {
			return false
		}
	}
	return true
}

// noteQueue notes the queue whose list or registry is called so.
func (r *reader) noteQueue(queues map[string]bool, name []byte) {
	for _, kind := range []keyspace.Kind{keyspace.List, keyspace.ZSet} {
		if k := r.schema.Classify(name, kind); k.Role == job.List || k.Role == job.Registry {
			queues[string(k.Queue)] = true
		}
	}
}
