package restore

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// batchKeys is how many keys one pipeline into a target fills at most.
const batchKeys = 512

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
	if len(f.batch) < batchKeys && f.batchBytes < batchBytes {
		return nil
	}
	f.send(ctx)
	return f.landed(ctx, maxShipments)
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

// shipment is a batch that was sent. The target works on it while the next is made ready.
type shipment struct {
	batch   []filling
	replies []any
	err     error
	landed  chan struct{}
}

// maxShipments is how many batches are on their way at once.
const maxShipments = 2

// flush sends the batch and waits until all is done.
func (f *filler) flush(ctx context.Context) error {
	f.send(ctx)
	return f.landed(ctx, 0)
}

// send sends the batch.
func (f *filler) send(ctx context.Context) {
	if len(f.batch) == 0 {
		return
	}
	s := &shipment{batch: f.batch, landed: make(chan struct{})}
	f.batch, f.batchBytes = nil, 0
	var commands [][]any
	for _, e := range s.batch {
		commands = append(commands, e.commands...)
	}
	f.shipments = append(f.shipments, s)
	target := f.o.Target
	go func() {
		defer close(s.landed)
		s.replies, s.err = target.Pipeline(ctx, s.batch[0].rec.DB, commands)
	}()
}

// landed waits until no more than so many batches are on their way.
func (f *filler) landed(ctx context.Context, most int) error {
	for len(f.shipments) > most {
		s := f.shipments[0]
		f.shipments = f.shipments[1:]
		if err := f.land(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// land waits for a batch, and sends those of its keys once more that RESTORE does not make
// here.
func (f *filler) land(ctx context.Context, s *shipment) error {
	<-s.landed
	if s.err != nil {
		return fmt.Errorf("write %d keys: %w", len(s.batch), s.err)
	}
	refused, err := f.read(ctx, s)
	if err != nil {
		return err
	}
	again := &shipment{}
	var commands [][]any
	for _, e := range refused {
		if e.commands, err = logical(string(e.rec.Key), &e.rec); err != nil {
			f.fail(&e.rec, err.Error())
			continue
		}
		e.exact = false
		again.batch, commands = append(again.batch, e), append(commands, e.commands...)
	}
	if len(again.batch) == 0 {
		return nil
	}
	if again.replies, err = f.o.Target.Pipeline(ctx, again.batch[0].rec.DB, commands); err != nil {
		return fmt.Errorf("write %d keys: %w", len(again.batch), err)
	}
	_, err = f.read(ctx, again)
	return err
}

// read reads what the target answered, and returns what has to be written command by
// command.
func (f *filler) read(ctx context.Context, s *shipment) (refused []filling, err error) {
	replies := s.replies
	var broken [][]any
	for _, e := range s.batch {
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
		if _, err := f.o.Target.Pipeline(ctx, s.batch[0].rec.DB, broken); err != nil {
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
