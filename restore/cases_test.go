package restore_test

import (
	"fmt"
	"testing"

	"rqvault/internal/redistest"
	"rqvault/restore"
)

// A worker that outlived a flush sends its heartbeat before the restore's first script
// call, its second, and so on. RQ deletes the whole hash if that made the field, some time
// later.
func TestCase09AHeartbeatWhileTheJobComesBack(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	enqueue(s, "a", "b")
	for _, id := range []string{"a", "b"} {
		s.Do("HSET", "rq:job:"+id, "last_heartbeat", "")
	}
	d := take(t, s)
	for beat, met := 1, true; met; beat++ {
		for after := 1; after <= 3; after++ {
			what := fmt.Sprintf("a heartbeat before call %d, and its end %d calls later", beat, after)
			s.Do("FLUSHALL")
			plan := d.plan(s, everything)
			c, calls := connect(t, s, ""), 0
			made, settled := false, false
			settle := func() {
				if settled = true; made {
					s.Do("DEL", "rq:job:a")
				}
			}
			c.before = func() {
				switch calls++; calls {
				case beat:
					made = s.Do("HSET", "rq:job:a", "last_heartbeat", "2026-11-23T06:00:09.000000Z") == int64(1)
				case beat + after:
					settle()
				}
			}
			out := d.apply(s, c, plan)
			if met = calls >= beat; met && !settled {
				settle()
			}
			if out.err != nil || len(out.with(restore.Failed)) > 0 {
				t.Fatalf("%s: %v, %+v", what, out.err, out.outcomes)
			}
			whole(t, what, look(t, s))
			if !met {
				break
			}
			again := d.restore(s)
			whole(t, what+", then again", look(t, s))
			held := s.Do("HGET", "rq:job:a", "last_heartbeat") != ""
			switch listed := s.Do("LPOS", "rq:queue:q", "a") != nil; {
			case s.Do("HGET", "rq:job:a", "data") != "payload of a":
				t.Errorf("%s: a is not whole: %+v", what, again.outcomes)
			case !listed && !held:
				t.Errorf("%s: a waits nowhere, and nobody runs it", what)
			}
		}
	}
}
