package restore

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// add queues a filling, and sends the batch when it is large enough.
func (f *filler) add(ctx context.Context, e filling) error {
	if len(f.batch) > 0 && f.batch[0].rec.DB != e.rec.DB {
		if err := f.flush(ctx); err != nil {
			return err
		}
	}
	f.batch = append(f.batch, e)
	for _, c := range e.commands {
		f.batchBytes += bytesOf(c)
	}
	if len(f.batch) < batchCalls && f.batchBytes < batchBytes {
		return nil
	}
	return f.flush(ctx)
}

// bytesOf is the size of the arguments of a command or call.
func bytesOf(args []any) int {
	n := 0
	for _, arg := range args {
		switch v := arg.(type) {
		case []byte:
			n += len(v)
		case string:
			n += len(v)
		}
	}
	return n
}

// flush sends the batch, and those of its keys once more that RESTORE does not make here.
func (f *filler) flush(ctx context.Context) error {
	batch := f.batch
	f.batch, f.batchBytes = nil, 0
	for len(batch) > 0 {
		refused, err := f.send(ctx, batch)
		if err != nil {
			return err
		}
		batch = batch[:0]
		for _, e := range refused {
			if e.commands, err = logical(string(e.rec.Key), &e.rec); err != nil {
				f.fail(&e.rec, err.Error())
				continue
			}
			e.exact = false
			batch = append(batch, e)
		}
	}
	return nil
}

// send runs the batch and returns what has to be written command by command.
func (f *filler) send(ctx context.Context, batch []filling) (refused []filling, err error) {
	var commands [][]any
	for _, e := range batch {
		commands = append(commands, e.commands...)
	}
	db := batch[0].rec.DB
	replies, err := f.o.Target.Pipeline(ctx, db, commands)
	if err != nil {
		return nil, fmt.Errorf("write %d keys: %w", len(batch), err)
	}
	var broken [][]any
	for _, e := range batch {
		err := firstError(replies[:len(e.commands)])
		replies = replies[len(e.commands):]
		switch {
		case err == nil:
		case fatal(err):
			return nil, fmt.Errorf("write key %q: %w: %w", e.rec.Key, ErrTarget, err)
		case !e.exact:
			f.fail(&e.rec, err.Error())
			broken = append(broken, []any{"DEL", e.rec.Key}) // no half value is left
		case code(err) == "BUSYKEY":
			f.fail(&e.rec, "somebody else wrote it meanwhile")
		default:
			f.byCommands = f.byCommands || denied(err)
			refused = append(refused, e)
		}
	}
	if len(broken) > 0 {
		if _, err := f.o.Target.Pipeline(ctx, db, broken); err != nil {
			return nil, fmt.Errorf("remove %d keys that were not taken whole: %w", len(broken), err)
		}
	}
	return refused, nil
}

// firstError returns the first error among replies.
func firstError(replies []any) error {
	for _, r := range replies {
		if err, ok := r.(error); ok {
			return err
		}
	}
	return nil
}

// code is the first word of what a server answered.
func code(err error) string {
	word, _, _ := strings.Cut(err.Error(), " ")
	return word
}

// fatal reports whether a server would refuse every other write likewise.
func fatal(err error) bool {
	return err != nil && slices.Contains([]string{"OOM", "MISCONF", "READONLY", "LOADING", "MASTERDOWN", "NOREPLICAS", "CLUSTERDOWN", "MOVED"}, code(err))
}

// denied reports whether a server refuses the command, whatever the value.
func denied(err error) bool {
	return code(err) == "NOPERM" || strings.HasPrefix(err.Error(), "ERR unknown command")
}
