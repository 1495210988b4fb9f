package command

import (
	"context"
	"fmt"
	"slices"
	"time"

	"rqvault/internal/job"
	"rqvault/internal/live"
	"rqvault/internal/rq"
	"rqvault/internal/watch"
)

// maxQueuesSeen bounds how many queues are asked for at each look.
const maxQueuesSeen = 1000

// queuesNow reads how many ids wait in each queue, since when the first of them does, and
// how many workers there are: a few pipelined reads, however large the queues.
func queuesNow(ctx context.Context, s *live.Server, db int, schema rq.Schema) (watch.Live, error) {
	var l watch.Live
	first, err := ask(ctx, s, db, [][]any{{"SMEMBERS", schema.QueuesKey()}, {"SMEMBERS", schema.WorkersKey()}})
	if err != nil {
		return l, err
	}
	lists, workers := texts(first[0]), texts(first[1])
	slices.Sort(lists)
	lists = lists[:min(len(lists), maxQueuesSeen)]
	var commands [][]any
	for _, list := range lists {
		commands = append(commands, []any{"LLEN", list}, []any{"LINDEX", list, 0})
	}
	for _, w := range workers {
		commands = append(commands, []any{"EXISTS", w}) // a dead worker's hash has expired
	}
	if len(commands) == 0 {
		return l, nil
	}
	replies, err := ask(ctx, s, db, commands)
	if err != nil {
		return l, err
	}
	var heads [][]any
	for i, list := range lists {
		q := watch.Queue{Name: string(schema.Classify([]byte(list), 0).Queue)}
		q.Jobs, _ = replies[2*i].(int64)
		id, _ := replies[2*i+1].(string)
		l.Queues = append(l.Queues, q)
		heads = append(heads, append([]any{"HMGET", schema.PartKey(id, job.HashPart)}, "enqueued_at"))
	}
	for _, r := range replies[2*len(lists):] {
		if n, _ := r.(int64); n > 0 {
			l.Workers++
		}
	}
	if len(heads) == 0 {
		return l, nil
	}
	if replies, err = ask(ctx, s, db, heads); err != nil {
		return l, err
	}
	for i, r := range replies {
		var row job.Row
		if fields := texts(r); len(fields) == 1 && l.Queues[i].Jobs > 0 {
			schema.Fill(&row, nil, []byte("enqueued_at"), []byte(fields[0]))
		}
		if row.EnqueuedAt != 0 {
			l.Queues[i].Oldest = time.UnixMicro(row.EnqueuedAt)
		}
	}
	return l, nil
}

func ask(ctx context.Context, s *live.Server, db int, commands [][]any) ([]any, error) {
	replies, err := s.Pipeline(ctx, db, commands)
	if err != nil {
		return nil, fmt.Errorf("look at the queues: %w", err)
	}
	return replies, nil
}

// texts are the strings of a reply; what is none is left out.
func texts(reply any) []string {
	list, _ := reply.([]any)
	var all []string
	for _, x := range list {
		if s, ok := x.(string); ok {
			all = append(all, s)
		}
	}
	return all
}
