package lease_test

import (
	"bufio"
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"rqvault/internal/child"
	"rqvault/internal/lease"
	"rqvault/internal/s3test"
)

// slack is for a machine with other work to do.
const slack = 8 * time.Second

// crew is a number of processes that contend for one lease.
type crew struct {
	t     testing.TB
	logs  string
	place func(name string) (store string, env []string)
	procs map[string]*child.Process // by name
	times map[string]int            // started
}

func newCrew(t testing.TB, place func(name string) (string, []string)) *crew {
	t.Helper()
	c := &crew{t: t, logs: t.TempDir(), place: place, procs: map[string]*child.Process{}, times: map[string]int{}}
	t.Cleanup(func() {
		for _, p := range c.procs {
			p.Kill()
		}
	})
	for _, name := range []string{"a", "b", "c"} {
		c.start(name)
	}
	return c
}

// start starts the contender of that name, again if need be.
func (c *crew) start(name string) {
	c.t.Helper()
	self, err := os.Executable()
	if err != nil {
		c.t.Fatal(err)
	}
	store, env := c.place(name)
	c.times[name]++
	cmd := exec.Command(self)
	cmd.Env = append(append(os.Environ(), env...), asContender+"="+name, itsStore+"="+store,
		fmt.Sprintf("%s=%s/%s.%d", itsLog, c.logs, name, c.times[name]))
	cmd.Stderr = os.Stderr
	if c.procs[name], err = child.Start(cmd, false); err != nil {
		c.t.Fatal(err)
	}
}

func (c *crew) signal(name string, sig syscall.Signal) {
	c.t.Helper()
	if err := syscall.Kill(c.procs[name].Pid(), sig); err != nil {
		c.t.Fatal(err)
	}
}

// entry is a line of a contender's log.
type entry struct {
	kind, cause string
	generation  uint64
	at          int64 // nanoseconds of the machine's clock
	name        string
	life        string // which of the processes of that name
}

// entries returns all that was written down, in the order of time.
func (c *crew) entries() []entry {
	c.t.Helper()
	paths, err := filepath.Glob(filepath.Join(c.logs, "*"))
	if err != nil {
		c.t.Fatal(err)
	}
	var all []entry
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			c.t.Fatal(err)
		}
		whole := b[:strings.LastIndexByte(string(b), '\n')+1]
		for lines := bufio.NewScanner(strings.NewReader(string(whole))); lines.Scan(); {
			e := entry{life: filepath.Base(path)}
			e.name, _, _ = strings.Cut(e.life, ".")
			if _, err := fmt.Sscan(lines.Text(), &e.kind, &e.generation, &e.at); err != nil {
				c.t.Fatalf("%s: %q: %v", path, lines.Text(), err)
			}
			if e.kind == "told" {
				e.cause = strings.SplitN(lines.Text(), " ", 4)[3]
			}
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(a, b entry) int { return cmp.Compare(a.at, b.at) })
	return all
}

// await waits for an entry that is wanted and returns the first.
func (c *crew) await(what string, within time.Duration, want func(e entry) bool) entry {
	c.t.Helper()
	limit := time.NewTimer(within)
	defer limit.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		all := c.entries()
		if i := slices.IndexFunc(all, want); i >= 0 {
			return all[i]
		}
		select {
		case <-tick.C:
		case <-limit.C:
			c.t.Fatalf("waited %s for %s", within, what)
		}
	}
}

// leader waits until somebody leads in a later generation than that.
func (c *crew) leader(after uint64) entry {
	c.t.Helper()
	return c.await(fmt.Sprintf("a leader after generation %d", after), shortTTL+shortTTL/6+slack,
		func(e entry) bool { return e.kind == "lead" && e.generation > after })
}

// firm waits until the leader has renewed its lease.
func (c *crew) firm(e entry) {
	c.t.Helper()
	c.await(e.name+" to go on leading", shortTTL+slack, func(later entry) bool {
		return later.kind == "lead" && later.generation == e.generation && later.at > e.at+int64(shortTTL/2)
	})
}

// told waits until the leader of that entry has ended its work because the lease was lost.
func (c *crew) told(old entry) {
	c.t.Helper()
	e := c.await(old.name+" to be told", slack, func(e entry) bool {
		return e.kind == "told" && e.life == old.life && e.generation == old.generation
	})
	if e.cause != lease.ErrLost.Error() {
		c.t.Errorf("%s ended with: %s", old.life, e.cause)
	}
}

// succeeded checks and tells how long after that moment the next leader began.
func (c *crew) succeeded(what string, since int64, next entry, most time.Duration) {
	c.t.Helper()
	took := time.Duration(next.at - since)
	c.t.Logf("%s: generation %d began after %s", what, next.generation, took.Round(time.Millisecond))
	if took > most+slack {
		c.t.Errorf("%s: the next leader came after %s, want about %s", what, took, most)
	}
}

// judge ends everybody in order and checks that at no time two led.
func (c *crew) judge() {
	c.t.Helper()
	for _, p := range c.procs {
		p.End(syscall.SIGTERM, slack)
	}
	all := slices.DeleteFunc(c.entries(), func(e entry) bool { return e.kind != "lead" })
	lives := map[uint64]string{}
	for i, e := range all {
		if i > 0 && e.generation < all[i-1].generation {
			c.t.Fatalf("%s led in generation %d, and %s later %s in %d", all[i-1].life, all[i-1].generation,
				time.Duration(e.at-all[i-1].at), e.life, e.generation)
		}
		if life := lives[e.generation]; life != "" && life != e.life {
			c.t.Fatalf("%s and %s both led in generation %d", life, e.life, e.generation)
		}
		lives[e.generation] = e.life
	}
	c.t.Logf("%d generations, %d moments of leading, no two at once", len(lives), len(all))
}

// killed: a leader that dies without a word is replaced after one ttl.
func (c *crew) killed(old entry) entry {
	c.firm(old)
	c.procs[old.name].Kill()
	at := monotonic()
	next := c.leader(old.generation)
	c.succeeded("kill -9 of the leader", at, next, shortTTL+shortTTL/6)
	if took := time.Duration(next.at - at); took < shortTTL/2 {
		c.t.Errorf("the next leader came after %s: the dead one could still have led", took)
	}
	c.start(old.name)
	return next
}

// paused: a leader that was stopped knows, when it goes on, that it leads no more.
func (c *crew) paused(old entry) entry {
	c.firm(old)
	c.signal(old.name, syscall.SIGSTOP)
	at := monotonic()
	next := c.leader(old.generation)
	c.signal(old.name, syscall.SIGCONT)
	c.succeeded("SIGSTOP of the leader", at, next, shortTTL+shortTTL/6)
	c.told(old)
	return next
}

// turns: a leader that ends in order is replaced without the wait, and each contender
// comes to lead.
func (c *crew) turns(old entry) entry {
	led := map[string]bool{}
	for range 25 {
		led[old.name] = true
		if len(led) == len(c.procs) {
			return old
		}
		c.firm(old) // so long that each of the others has looked, not only the one just started
		at := monotonic()
		c.procs[old.name].End(syscall.SIGTERM, slack)
		next := c.leader(old.generation)
		c.succeeded("SIGTERM of the leader", at, next, shortTTL/6)
		c.start(old.name)
		old = next
	}
	c.t.Errorf("only %v ever led", led)
	return old
}

func TestProcessesThatShareADirectory(t *testing.T) {
	root := filepath.Join(t.TempDir(), "store")
	c := newCrew(t, func(string) (string, []string) { return root, nil })
	now := c.leader(0)
	for range 2 {
		now = c.killed(now)
		now = c.paused(now)
	}
	c.turns(now)
	c.judge()
}

func TestProcessesThatShareABucket(t *testing.T) {
	server := s3test.Start(t)
	lines := map[string]*line{"a": newLine(t, server.Endpoint), "b": newLine(t, server.Endpoint), "c": newLine(t, server.Endpoint)}
	c := newCrew(t, func(name string) (string, []string) {
		l := lines[name]
		return "s3://" + server.Bucket + "/p", append(server.Env(), "AWS_ENDPOINT_URL_S3="+l.front.URL)
	})
	now := c.leader(0)
	now = c.killed(now)
	now = c.paused(now)
	now = c.cutOff(now, lines[now.name])
	now = c.unheard(now, lines[now.name])
	now = c.outage(now, server)
	c.turns(now)
	c.judge()
}

// cutOff: a leader that cannot reach the store stops, though nobody can tell it to.
func (c *crew) cutOff(old entry, l *line) entry {
	c.firm(old)
	l.set(cut)
	at := monotonic()
	next := c.leader(old.generation)
	c.succeeded("the leader cut off from the store", at, next, shortTTL+shortTTL/6)
	c.told(old)
	l.set(sound)
	return next
}

// unheard: a leader none of whose writings is answered, though they are done, goes on.
func (c *crew) unheard(old entry, l *line) entry {
	l.set(deafening)
	from := monotonic()
	last := c.await("the same leader after three ttls", 3*shortTTL+slack, func(e entry) bool {
		return e.kind == "lead" && e.at > from && (e.generation != old.generation || e.at > from+int64(3*shortTTL))
	})
	if last.generation != old.generation {
		c.t.Errorf("with answers lost, %s led in generation %d instead of %d", last.life, last.generation, old.generation)
	}
	if n := l.lost(); n < 3 {
		c.t.Errorf("only %d answers were lost: this shows nothing", n)
	}
	l.set(sound)
	return last
}

// outage: when the store is away for longer than a ttl nobody leads, and when it is back
// somebody does.
func (c *crew) outage(old entry, server *s3test.Server) entry {
	server.Kill()
	c.told(old)
	server.Restart(c.t)
	at := monotonic()
	next := c.leader(old.generation)
	c.succeeded("the store was away", at, next, shortTTL+shortTTL/6)
	return next
}
