package command_test

import (
	"strings"
	"testing"
	"time"
)

// Whatever way Redis is read, a rate is kept.
func TestLimitRate(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.s.Do("EVAL", `
		for i = 1, 40 do
			redis.call('hset', 'rq:job:j'..i, 'data', 'x', 'status', 'queued', 'origin', 'q', 'created_at', '2026-11-23T06:32:30.111182Z')
			redis.call('rpush', 'rq:queue:q', 'j'..i)
			redis.call('set', 'session:'..i, string.rep('v', 6000))
		end
		for i = 1, 1500 do redis.call('xadd', 'rq:results:j'..i, '1-1', 'type', '1', 'return_value', string.rep(tostring(i), 30)) end`, 0)
	v.s.Do("CONFIG", "SET", "rdbcompression", "no")
	for _, command := range [][]string{{"backup", "--via", "sync"}, {"backup", "--via", "bgsave"}, {"backup", "--via", "scan"}, {"diff"}, {"restore"}} {
		began := time.Now()
		v.want(0, append(command, "--limit-rate", "300KB/s")...)
		if took := time.Since(began); took < 700*time.Millisecond {
			t.Errorf("%s: took %s at 300 KB/s", strings.Join(command, " "), took)
		}
	}
	if r := v.want(2, "diff", "--limit-rate", "fast"); !strings.Contains(r.err, "--limit-rate") {
		t.Errorf("got %s", r.err)
	}
}
