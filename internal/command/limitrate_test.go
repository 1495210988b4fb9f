package command_test

import (
	"strings"
	"testing"
	"time"
)

// Whatever way Redis is read, a rate is kept, and without one it is not.
func TestLimitRate(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.s.Do("EVAL", `
		for i = 1, 40 do
			redis.call('hset', 'rq:job:j'..i, 'data', 'x', 'status', 'queued', 'origin', 'q', 'created_at', '2026-11-23T06:32:30.111182Z')
			redis.call('rpush', 'rq:queue:q', 'j'..i)
			redis.call('set', 'session:'..i, string.rep(tostring(i), 10000))
		end
		for i = 1, 3000 do redis.call('xadd', 'rq:results:j'..i, '1-1', 'type', '1', 'return_value', string.rep(tostring(i), 30)) end
		redis.call('config', 'set', 'rdbcompression', 'no')`, 0)
	took := func(code int, args ...string) time.Duration {
		began := time.Now()
		v.want(code, args...)
		return time.Since(began)
	}
	for _, command := range [][]string{{"backup", "--via", "sync"}, {"backup", "--via", "bgsave"}, {"backup", "--via", "scan"}, {"diff"}, {"restore"}} {
		free := took(0, command...)
		paced := took(0, append(command, "--limit-rate", "300KB/s")...)
		if paced < 700*time.Millisecond || paced < free+500*time.Millisecond {
			t.Errorf("%s: took %s, and %s at 300 KB/s", strings.Join(command, " "), free, paced)
		}
	}
	if r := v.want(2, "diff", "--limit-rate", "fast"); !strings.Contains(r.err, "--limit-rate") {
		t.Errorf("got %s", r.err)
	}
}
