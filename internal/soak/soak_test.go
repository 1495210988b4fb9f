package soak_test

import (
	"flag"
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"rqvault/internal/promtest"
	"rqvault/internal/redistest"
	"rqvault/internal/s3test"
)

var (
	duration = flag.Duration("duration", 0, "how long; 0 for the short form, with one fault of each kind")
	seed     = flag.Int64("seed", 1, "of what fails when")
)

// The times of the sources' tasks, and what the lease and the policy are.
const (
	every    = 5 * time.Second // between two backups
	ttl      = 6 * time.Second
	keepLast = 12
)

var (
	sources  = []string{"one", "two"}
	replicas = []string{"a", "b"}
)

// soak is one run.
type soak struct {
	t       testing.TB
	rand    *rand.Rand
	dir     string
	bin     string
	s3      *s3test.Server
	redis   map[string]*redistest.Server
	daemons []*daemon
	address map[string]string // of the replicas' metrics
	told    *told
	slots   map[string]map[string]string // source → snapshot → slot
	kinds   map[string]int               // how often each fault was staged
	begun   time.Time
}

func TestSoak(t *testing.T) {
	s := &soak{t: t, rand: rand.New(rand.NewSource(*seed)), dir: t.TempDir(), redis: map[string]*redistest.Server{}, address: map[string]string{}, slots: map[string]map[string]string{}, kinds: map[string]int{}, begun: time.Now()}
	s.bin = filepath.Join(s.dir, "rqvault")
	build := exec.Command("go", "build", "-o", s.bin, "rqvault")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build rqvault: %v: %s", err, out)
	}
	s.s3 = s3test.Start(t)
	s.told = listen(t)
	for _, name := range sources {
		s.slots[name] = map[string]string{}
		s.redis[name] = redistest.Start(t, redistest.WithArgs("--repl-diskless-sync-delay", "0"))
		redistest.RQ(t, s.redis[name], `import os, redis, rq
q = rq.Queue('q', connection=redis.from_url(os.environ['REDIS_URL']))
for i in range(150): q.enqueue('os.getpid', job_id='o%03d' % i)
`)
	}
	s.configure()
	for _, name := range replicas {
		s.address[name] = freeAddress(t)
	}
	prometheus := promtest.Start(t, s.address["a"], s.address["b"])
	for _, name := range replicas {
		s.daemons = append(s.daemons, s.start(name))
	}
	s.await("a snapshot of each source, proven", time.Minute, func() bool {
		return s.done("one", "verify") > 0 && s.done("two", "verify") > 0 && s.done("one", "drill") > 0
	})
	s.steady()
	s.live()
	s.wipe()
	s.shown(prometheus)
	s.settle()
}

// live stages faults until the time is over, with calm between them.
func (s *soak) live() {
	faults := []func(){s.killLeader, s.freezeLeader, s.endLeader, s.restartRedis, s.reload, s.cutStore}
	order := s.rand.Perm(len(faults))
	for {
		for _, i := range order {
			if *duration > 0 && time.Since(s.begun) > *duration-time.Minute {
				return
			}
			faults[i]()
			s.calm()
		}
		if *duration == 0 {
			return
		}
	}
}

// steady leaves the daemons alone for a third of the time, and sees that they do not grow.
func (s *soak) steady() {
	if *duration == 0 {
		return
	}
	for time.Since(s.begun) < *duration/3 {
		s.pass(5 * time.Second)
		for _, d := range s.daemons {
			d.weigh()
		}
	}
	for _, d := range s.daemons {
		d.flat(s.t)
	}
}

// calm waits until both sources have two new snapshots.
func (s *soak) calm() {
	s.t.Helper()
	one, two := len(s.slots["one"]), len(s.slots["two"])
	s.await("snapshots after "+fmt.Sprint(s.kinds), 90*time.Second, func() bool {
		return len(s.slots["one"]) >= one+2 && len(s.slots["two"]) >= two+2
	})
	if *duration > 0 {
		s.pass(time.Duration(10+s.rand.Intn(20)) * time.Second)
	}
}

// pass lets time pass, and looks at the store meanwhile.
func (s *soak) pass(d time.Duration) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for end := time.Now().Add(d); time.Now().Before(end); <-tick.C {
		s.look()
	}
}

func (s *soak) await(what string, limit time.Duration, f func() bool) {
	s.t.Helper()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(limit); ; <-tick.C {
		s.look()
		if f() {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("waited in vain for %s", what)
		}
	}
}

func (s *soak) configure() {
	text := fmt.Sprintf("stores: {main: {url: '%s'}}\nsources:\n", s.s3.URL("vault"))
	for _, name := range sources {
		text += fmt.Sprintf("  %s:\n    redis: %s\n    via: sync\n    keep: {last: %d}\n    schedule: {backup: '@every %s', verify: '@every 15s', diff: '@every 10s', fsck: '@every 15s', prune: '@every 20s', drill: '@every 30s', retry_after: 1s, jitter: 1s}\n",
			name, s.redis[name].URL(), keepLast, every)
	}
	text += fmt.Sprintf("daemon: {lease_ttl: %s, grace: 5s}\nalarms: {webhooks: {night: {url: '%s'}}, heartbeat_url: '%s'}\n", ttl, s.told.url("/alarm"), s.told.url("/alive"))
	if err := os.WriteFile(s.config(), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s *soak) config() string { return filepath.Join(s.dir, "rqvault.yml") }
