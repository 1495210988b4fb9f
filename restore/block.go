package restore

import "rqvault/verify"

// block is what restore.lua is told of one job or key.
type block struct {
	entry string   // field of the ledger
	key   string   // the job's hash, or the key to restore
	keys  []string // the others that are looked at or touched
	args  []any
	plain bool // it is about no job
}

func (b *block) add(args ...any) { b.args = append(b.args, args...) }

// step appends one command; keys are those it touches.
func (b *block) step(keys []string, args ...any) {
	b.keys = append(b.keys, keys...)
	b.add(len(args))
	b.add(args...)
}

// head adds the arguments with which every block begins: list is to be registered among the
// queues, if it is any.
func (w *writer) head(b *block, state string, guard verify.Guard, list string, v value) {
	b.add(string(guard), sign(state, w.now)+v.version, list, v.how, v.expireAt)
}

// call puts blocks together, of jobs or of others.
func (w *writer) call(blocks ...*block) Call {
	payload, names := w.schema.PayloadField(), w.schema.VersionFields()
	if blocks[0].plain {
		payload, names = "", nil
	}
	keys := append(make([]string, 0, 2+3*len(blocks)), w.ledger, w.schema.QueuesKey())
	args := append(make([]any, 0, 8+16*len(blocks)), w.life, w.since, payload, len(names))
	for _, n := range names {
		args = append(args, n)
	}
	args = append(args, len(blocks))
	for _, b := range blocks {
		keys, args = append(keys, b.key), append(args, b.entry)
	}
	named := map[string]bool{}
	for _, b := range blocks {
		args = append(append(args, len(b.args)), b.args...)
		for _, k := range b.keys {
			if !named[k] {
				named[k] = true
				keys = append(keys, k)
			}
		}
	}
	return Call{Keys: keys, Args: args}
}
