package ledger_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"rqvault/internal/redistest"
)

// queues are those of testdata/producer.py.
var queues = []string{"high", "default", "low"}

// crew is the process in which a run's producer, scheduler and workers are children. It
// ends them when its input does, so that none outlives the test.
type crew struct {
	t   testing.TB
	dir string // where the ledger and the log are
	in  io.WriteCloser
	out *bufio.Reader
}

func hire(t testing.TB, s *redistest.Server) *crew {
	t.Helper()
	script, err := filepath.Abs("testdata/crew.py")
	if err != nil {
		t.Fatal(err)
	}
	c := &crew{t: t, dir: t.TempDir()}
	log, err := os.OpenFile(c.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(python(), script)
	cmd.Dir, cmd.Stderr = c.dir, log
	cmd.Env = append(os.Environ(), "REDIS_URL="+s.SocketURL(), "PYTHONDONTWRITEBYTECODE=1",
		"LEDGER="+c.ledger(), "ACKNOWLEDGED="+c.acknowledged())
	if c.in, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.out = bufio.NewReader(out)
	if err := cmd.Start(); err != nil {
		t.Fatalf("%s with the rq package is needed (apt install python3-rq, or set RQVAULT_PYTHON): %v", python(), err)
	}
	t.Cleanup(func() {
		_ = c.in.Close()
		_, _ = io.Copy(io.Discard, c.out)
		_ = cmd.Wait()
		if t.Failed() {
			b, _ := os.ReadFile(c.log())
			t.Logf("the end of the crew's log:\n%s", b[max(0, len(b)-3000):])
		}
	})
	return c
}

func python() string {
	if p := os.Getenv("RQVAULT_PYTHON"); p != "" {
		return p
	}
	return "/usr/bin/python3"
}

func (c *crew) log() string          { return filepath.Join(c.dir, "crew.log") }
func (c *crew) ledger() string       { return filepath.Join(c.dir, "ledger") }
func (c *crew) acknowledged() string { return filepath.Join(c.dir, "acknowledged") }

// order is one command to the crew, by the names that crew.py has for it.
type order map[string]any

func (c *crew) do(o order, answer any) {
	c.t.Helper()
	b, err := json.Marshal(o)
	if err == nil {
		_, err = c.in.Write(append(b, '\n'))
	}
	if err != nil {
		c.t.Fatalf("tell the crew to %v: %v", o["do"], err)
	}
	line, err := c.out.ReadBytes('\n')
	if err != nil {
		c.t.Fatalf("the crew ended at %v: %v", o, err)
	}
	if answer != nil {
		if err := json.Unmarshal(line, answer); err != nil {
			c.t.Fatalf("the crew's answer to %v: %v", o["do"], err)
		}
	}
}

func (c *crew) worker(name string, queues ...string) {
	c.t.Helper()
	c.do(order{"do": "start", "role": "worker", "name": name, "queues": queues}, nil)
}

func (c *crew) scheduler(name string) {
	c.t.Helper()
	c.do(order{"do": "start", "role": "scheduler", "name": name}, nil)
}

// produce starts a producer. Its jobs' ids begin with the prefix.
func (c *crew) produce(prefix string, seed int64, count int, meddle bool) {
	c.t.Helper()
	c.do(order{"do": "start", "role": "producer", "name": prefix, "seed": seed, "prefix": prefix, "count": count, "rate": *rate, "meddle": meddle}, nil)
}

// busy tells of those that live how many jobs each is running.
func (c *crew) busy() map[string]int {
	c.t.Helper()
	var n map[string]int
	c.do(order{"do": "status"}, &n)
	return n
}

// kill ends a process and the job that it runs.
func (c *crew) kill(name string) {
	c.t.Helper()
	c.do(order{"do": "kill", "name": name}, nil)
}

// murder ends a worker, or the process of its job, or both, if it is running a job.
func (c *crew) murder(name string, worker, horse bool) bool {
	c.t.Helper()
	running := 0
	c.do(order{"do": "kill", "name": name, "worker": worker, "horse": horse, "busy": true}, &running)
	return running > 0
}

// await looks every so often, and fails the test unless the condition comes true within
// two minutes and three times what the producer takes.
func (c *crew) await(what string, every time.Duration, f func() bool) {
	c.t.Helper()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for deadline := time.Now().Add(2*time.Minute + 3**duration); !f(); <-tick.C {
		if time.Now().After(deadline) {
			c.t.Fatalf("waited in vain for %s", what)
		}
	}
}

// enqueued waits until the producers' jobs are so many.
func (c *crew) enqueued(n int) {
	c.t.Helper()
	c.await(fmt.Sprintf("%d jobs", n), 5*time.Millisecond, func() bool {
		b, _ := os.ReadFile(c.acknowledged())
		return bytes.Count(b, []byte("\n")) >= n
	})
}

// dismiss lets all of these end after their jobs, and waits for it.
func (c *crew) dismiss(names ...string) {
	c.t.Helper()
	for _, name := range names {
		c.do(order{"do": "stop", "name": name}, nil)
	}
	c.await("the end of "+names[0], 50*time.Millisecond, func() bool {
		left := c.busy()
		return !slices.ContainsFunc(names, func(n string) bool { _, ok := left[n]; return ok })
	})
}

// quiet waits until nothing waits and nobody works, for a while: between a list and the
// process that runs the job an id is nowhere.
func (c *crew) quiet(s *redistest.Server) {
	c.t.Helper()
	var since time.Time
	c.await("quiet queues", 100*time.Millisecond, func() bool {
		idle := read(c.t, s).waiting() == 0
		for _, n := range c.busy() {
			idle = idle && n == 0
		}
		if !idle {
			since = time.Time{}
		} else if since.IsZero() {
			since = time.Now()
		}
		return idle && time.Since(since) > time.Second
	})
}
