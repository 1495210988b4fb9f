package soak_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// daemon is one replica.
type daemon struct {
	name    string
	address string // of its metrics
	cmd     *exec.Cmd
	log     *lockedBuffer
	ended   chan struct{}
	begun   time.Time
	weight  []int64 // its resident memory in kB, look by look
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// freeAddress returns one that nobody listens at.
func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// start starts a replica. The variable of one key tells it from the other.
func (s *soak) start(name string) *daemon {
	s.t.Helper()
	d := &daemon{name: name, address: s.address[name], cmd: exec.Command(s.bin, "schedule", "--config", s.config()), log: &lockedBuffer{}, ended: make(chan struct{}), begun: time.Now()}
	d.cmd.Env = append(append(os.Environ(), s.s3.Env()...), "RQVAULT_DAEMON_LISTEN="+d.address)
	d.cmd.Stdout, d.cmd.Stderr = d.log, d.log
	if err := d.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() {
		_ = d.cmd.Wait()
		close(d.ended)
	}()
	s.t.Cleanup(func() {
		_ = d.cmd.Process.Kill()
		<-d.ended
		if s.t.Failed() {
			text := d.log.text()
			s.t.Logf("daemon %s, its last lines:\n%s", d.name, text[max(0, len(text)-6000):])
		}
	})
	return d
}

func (d *daemon) signal(sig syscall.Signal) { _ = d.cmd.Process.Signal(sig) }

// leads asks a replica.
func (d *daemon) leads() bool {
	c := http.Client{Timeout: time.Second}
	resp, err := c.Get("http://" + d.address + "/metrics")
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return strings.Contains(string(b), `rqvault_lease_leader{lease="main"} 1`)
}

// leader waits until one replica leads and returns its index.
func (s *soak) leader() int {
	s.t.Helper()
	found := -1
	s.await("a leader", time.Minute, func() bool {
		for i, d := range s.daemons {
			if d.leads() {
				found = i
			}
		}
		return found >= 0
	})
	return found
}

// killLeader: no time for anything.
func (s *soak) killLeader() {
	s.kinds["kill -9 of the leader"]++
	i := s.leader()
	s.daemons[i].signal(syscall.SIGKILL)
	<-s.daemons[i].ended
	s.daemons[i] = s.start(s.daemons[i].name)
}

// freezeLeader stops it for longer than the lease lasts.
func (s *soak) freezeLeader() {
	s.kinds["SIGSTOP of the leader"]++
	i := s.leader()
	s.daemons[i].signal(syscall.SIGSTOP)
	s.await("another leader", time.Minute, s.daemons[1-i].leads)
	s.daemons[i].signal(syscall.SIGCONT)
}

// endLeader ends it in order, and starts it again.
func (s *soak) endLeader() {
	s.kinds["SIGTERM of the leader"]++
	i := s.leader()
	d := s.daemons[i]
	d.signal(syscall.SIGTERM)
	<-d.ended
	if code := d.cmd.ProcessState.ExitCode(); code != 0 {
		s.t.Errorf("SIGTERM: exit %d", code)
	}
	s.daemons[i] = s.start(d.name)
}

// restartRedis kills a Redis that had saved, so that it comes back with everything.
func (s *soak) restartRedis() {
	s.kinds["kill -9 of Redis"]++
	r := s.redis["one"]
	r.Save()
	r.Kill()
	s.pass(3 * time.Second)
	r.Restart(false)
}

func (s *soak) reload() {
	s.kinds["SIGHUP"]++
	for _, d := range s.daemons {
		d.signal(syscall.SIGHUP)
	}
}

// away is how long the store is gone: so long that backups are late.
const away = 25 * time.Second

func (s *soak) cutStore() {
	s.kinds["the store is away"]++
	s.s3.Kill()
	s.pass(away)
	s.s3.Restart(s.t)
}

// told is who hears of alarms.
type told struct {
	server *httptest.Server
	mu     sync.Mutex
	alarms map[string]int // "name source" → how often it fired
	beats  int
}

func listen(t testing.TB) *told {
	h := &told{alarms: map[string]int{}}
	h.server = httptest.NewServer(h)
	t.Cleanup(h.server.Close)
	return h
}

func (h *told) url(path string) string { return h.server.URL + path }

func (h *told) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r.URL.Path == "/alive" {
		h.beats++
		return
	}
	var m struct{ State, Name, Source string }
	if json.NewDecoder(r.Body).Decode(&m) == nil && m.State == "firing" {
		h.alarms[m.Name+" "+m.Source]++
	}
}

func (h *told) heard(name string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.alarms[name] > 0
}

// weigh notes how much memory a replica has.
func (d *daemon) weigh() {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(d.cmd.Process.Pid) + "/status")
	if err != nil {
		return
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			d.weight = append(d.weight, n)
		}
	}
}

// flat sees that the last third of a replica's time took no more memory than the second:
// a leak of a few kilobytes per run would show by then.
func (d *daemon) flat(t testing.TB) {
	n := len(d.weight) / 3
	if n == 0 {
		t.Errorf("daemon %s was looked at %d times", d.name, len(d.weight))
		return
	}
	second, last := median(d.weight[n:2*n]), median(d.weight[2*n:])
	t.Logf("daemon %s: resident memory in kB, medians of the thirds of %s: %d, %d, %d", d.name, time.Since(d.begun).Round(time.Second), median(d.weight[:n]), second, last)
	if last > second+second/10 {
		t.Errorf("daemon %s grew from %d to %d kB: %v", d.name, second, last, d.weight)
	}
}

func median(all []int64) int64 {
	all = slices.Sorted(slices.Values(all))
	return all[len(all)/2]
}
