package restore

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"rqvault/internal/index"
	"rqvault/internal/job"
	"rqvault/internal/keyspace"
	"rqvault/verify"
)

// Keys is a snapshot's table of keys, from its beginning.
type Keys func() iter.Seq2[*index.KeyRow, error]

// existsBatch is how many keys one look at live asks about.
const existsBatch = 500

// KeyCounts says what became of the keys that fit the patterns.
type KeyCounts struct {
	Present int // live has them: they are never touched
	Expired int // their own expiry has passed
	Queues  int // they belong to the queue library: only whole jobs are restored
}

// PlanKeys makes steps for the keys that fit one of the patterns, are no queue
// library's, have not expired, and are missing in live; it counts the others.
func PlanKeys(ctx context.Context, r Redis, keys Keys, patterns []string, now int64) (steps []Step, n KeyCounts, err error) {
	var batch []*index.KeyRow
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		commands := make([][]any, len(batch))
		for i, k := range batch {
			commands[i] = []any{"EXISTS", k.Name()}
		}
		replies, err := r.Pipeline(ctx, int(batch[0].DB), commands)
		if err != nil {
			return fmt.Errorf("look for keys: %w", err)
		}
		for i, k := range batch {
			switch v := replies[i].(type) {
			case error:
				return fmt.Errorf("look for keys: %w", v)
			case int64:
				if v != 0 {
					n.Present++
					continue
				}
			}
			steps = append(steps, Step{DB: k.DB, Key: string(k.Name()), Verdict: verify.Lost, Action: verify.Restore,
				Guard: verify.GuardAbsent, Reason: k.Kind + " is missing in live", position: noPlace})
		}
		batch = batch[:0]
		return nil
	}
	for k, err := range keys() {
		if err != nil {
			return nil, n, err
		}
		if ownKey(k.Name()) || !matchAny(patterns, k.Name()) {
			continue
		}
		if k.Role != "" && k.Role != index.PlainRole {
			n.Queues++
			continue
		}
		if k.ExpireAt != 0 && k.ExpireAt <= now {
			n.Expired++
			continue
		}
		if len(batch) == existsBatch || len(batch) > 0 && batch[0].DB != k.DB {
			if err := flush(); err != nil {
				return nil, n, err
			}
		}
		row := *k
		batch = append(batch, &row)
	}
	err = flush()
	return steps, n, err
}

func matchAny(patterns []string, name []byte) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return keyspace.Match([]byte(p), name) })
}

// ownKey reports whether a key is rqvault's.
func ownKey(name []byte) bool {
	const prefix = "rqvault:"
	return len(name) >= len(prefix) && string(name[:len(prefix)]) == prefix
}

// KeyEntry is the field of the ledger under which a key is signed for.
func keyEntry(name string) string { return "key:" + name }

// ApplyKeys carries out the steps of a plan that are about keys.
func ApplyKeys(ctx context.Context, p *Plan, keys Keys, o Options) error {
	wanted := map[verify.JobKey]*Step{}
	for i := range p.Steps {
		if s := &p.Steps[i]; s.Key != "" && s.Action == verify.Restore {
			wanted[verify.JobKey{DB: s.DB, ID: s.Key}] = s
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	a := &applier{o: o, total: len(wanted), w: newWriter(p, o)}
	for k, err := range keys() {
		if err != nil {
			return err
		}
		s := wanted[verify.JobKey{DB: k.DB, ID: string(k.Name())}]
		if s == nil {
			continue
		}
		if err := a.key(ctx, k, s); err != nil {
			return err
		}
	}
	return nil
}

// key puts one key back, by RESTORE or, where that is refused, command by command.
func (a *applier) key(ctx context.Context, k *index.KeyRow, s *Step) error {
	raw, err := a.o.Values.Read(ctx, k.Offset, k.Length)
	if err != nil {
		return fmt.Errorf("read key %q: %w", k.Key, err)
	}
	rec := &keyspace.Record{DB: int(k.DB), Key: k.Name(), Type: byte(k.Type), Kind: keyspace.ParseKind(k.Kind),
		Format: a.o.Format, ExpireAt: k.ExpireAt, Raw: raw, Offset: k.Offset}
	for {
		b, err := a.w.key(s.Key, rec)
		if err != nil {
			a.outcome(s, Failed, err.Error())
			return nil
		}
		again, err := a.read(a.launch(ctx, []pending{{row: &job.Row{DB: k.DB}, task: &task{Step: s}, block: b, fields: a.w.fields}}, true))
		if err != nil || len(again) == 0 {
			return err
		}
	}
}

func (w *writer) key(name string, rec *keyspace.Record) (*block, error) {
	b := &block{entry: keyEntry(name), key: name, plain: true}
	if p := payload(rec); p != nil && !w.fields {
		w.head(b, statePlaced, verify.GuardAbsent, "", value{how: "restore", expireAt: rec.ExpireAt})
		b.add(p)
		return b, nil
	}
	steps, err := logical(name, rec)
	if err != nil {
		return nil, err
	}
	w.head(b, statePlaced, verify.GuardAbsent, "", value{how: "steps", expireAt: rec.ExpireAt})
	for _, s := range steps {
		b.step(nil, s...)
	}
	return b, nil
}
