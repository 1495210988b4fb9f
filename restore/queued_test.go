package restore_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"rqvault/internal/redistest"
	"rqvault/restore"
)

// Jobs that only wait are written in the order of their queue, whatever their ids.
func TestJobsThatWaitAreWrittenInTheOrderOfTheirQueue(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	var ids []string
	for i := 600; i > 0; i-- {
		ids = append(ids, fmt.Sprintf("j%03d", i))
	}
	enqueue(s, ids...)
	want := look(t, s)
	d := take(t, s)
	s.Do("FLUSHALL")
	var mu sync.Mutex
	seen := 0
	m := &middleman{conn: connect(t, s, ""), calls: func(_ int, calls []restore.Call) {
		mu.Lock()
		defer mu.Unlock()
		for _, c := range calls {
			hashes := c.Keys[2:]
			if !slices.IsSortedFunc(hashes, func(a, b string) int { return strings.Compare(b, a) }) {
				t.Errorf("written as %q, want the last id first", hashes)
			}
			seen += len(hashes)
		}
	}}
	out := m.through(d, s, d.plan(s, everything))
	if out.err != nil || len(out.with(restore.Restored)) != len(ids) || seen < len(ids)/2 {
		t.Fatalf("%v, %d restored, %d of them many a call", out.err, len(out.with(restore.Restored)), seen)
	}
	same(t, "restored", without(look(t, s)), want)
	wantQueue(t, s, ids...)
}

// Several long queues return at once, each in its order.
func TestSeveralLongQueuesReturnAtOnce(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	s.Do("EVAL", `for i = 1, 5000 do
		local id, q = string.format('j%05d', i * 7919 % 5003), 'q'..(i % 7 % 3)
		redis.call('hset', 'rq:job:'..id, 'data', 'x', 'status', 'queued', 'origin', q, 'created_at', ARGV[1], 'enqueued_at', ARGV[1])
		redis.call('rpush', 'rq:queue:'..q, id)
		redis.call('sadd', 'rq:queues', 'rq:queue:'..q)
	end`, 0, created)
	want := look(t, s)
	d := take(t, s)
	s.Do("FLUSHALL")
	out := d.apply(s, connect(t, s, ""), d.plan(s, everything))
	if out.err != nil || len(out.with(restore.Restored)) != 5000 {
		t.Fatalf("%v, %d restored, want 5000", out.err, len(out.with(restore.Restored)))
	}
	same(t, "restored", without(look(t, s)), want)
}
