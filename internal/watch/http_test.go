package watch_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"rqvault/internal/watch"
)

// clock is a time that a test moves.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// serve runs a real server and returns its URL. It ends with the test.
func serve(t testing.TB, m *watch.Metrics, h *watch.Health) string {
	t.Helper()
	l, err := watch.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- watch.Serve(ctx, l, watch.Handler(m, h)) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return "http://" + l.Addr().String()
}

func get(t testing.TB, url string) (status int, text string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestHealthAndReadiness(t *testing.T) {
	c := &clock{t: noon}
	h := watch.NewHealth(c.now, time.Minute)
	url := serve(t, watch.New("1"), h)
	see := func(path string, want int, says string) {
		t.Helper()
		if status, text := get(t, url+path); status != want || text != says {
			t.Errorf("%s: %d %q, want %d %q", path, status, text, want, says)
		}
	}
	see("/healthz", 200, "ok\n")
	see("/readyz", 503, "starting\n")
	h.Set("store s3", true, "answered", 5*time.Minute)
	h.Set("redis main", true, "answered", 5*time.Minute)
	h.Set("lease", true, "follows host-2", 5*time.Minute)
	c.pass(10 * time.Second)
	see("/readyz", 200, "lease: ok, follows host-2, 10s ago\nredis main: ok, answered, 10s ago\nstore s3: ok, answered, 10s ago\n")
	h.Set("redis main", false, "connection refused", 5*time.Minute)
	h.Drop("lease")
	see("/readyz", 503, "redis main: NOT READY, connection refused, 0s ago\nstore s3: ok, answered, 10s ago\n")
	see("/healthz", 200, "ok\n")

	c.pass(61 * time.Second)
	see("/healthz", 503, "hung: the main loop last went round 1m11s ago\n")
	see("/readyz", 503, "hung: the main loop last went round 1m11s ago\n")
	h.Tick()
	see("/healthz", 200, "ok\n")
	h.Set("redis main", true, "answered", 5*time.Minute)
	c.pass(4 * time.Minute)
	h.Tick()
	see("/readyz", 503, "redis main: ok, answered, 4m0s ago\nstore s3: NOT KNOWN, answered, 5m11s ago\n")
}

func TestNothingElseIsServed(t *testing.T) {
	url := serve(t, daemon(noon), watch.NewHealth(time.Now, 0))
	if status, text := get(t, url+"/metrics"); status != 200 || !strings.Contains(text, "\nrqvault_build_info{") || !strings.Contains(text, "\ngo_goroutines ") || !strings.Contains(text, "\nprocess_resident_memory_bytes ") {
		t.Errorf("/metrics: %d %.200s", status, text)
	}
	for _, path := range []string{"/", "/debug/pprof/", "/metrics/", "/../etc/passwd"} {
		if status, text := get(t, url+path); status != 404 {
			t.Errorf("%s: %d %q", path, status, text)
		}
	}
	resp, err := http.Post(url+"/metrics", "text/plain", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 405 {
		t.Errorf("a post: %d", resp.StatusCode)
	}
}

func TestAnAddressThatIsTaken(t *testing.T) {
	l, err := watch.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := watch.Listen(t.Context(), l.Addr().String()); err == nil || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Errorf("got %v, want an error that names the address", err)
	}
	if host, _, err := net.SplitHostPort(watch.DefaultAddress); err != nil || !net.ParseIP(host).IsLoopback() {
		t.Errorf("the default address is for others too: %s", watch.DefaultAddress)
	}
}

func TestAClientThatHangsDoesNotHoldUpTheEnd(t *testing.T) {
	l, err := watch.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- watch.Serve(ctx, l, watch.Handler(watch.New("1"), watch.NewHealth(time.Now, 0))) }()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// A whole request first, so that the server surely has the connection.
	fmt.Fprint(conn, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HT")
	if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.Contains(line, "200") {
		t.Fatalf("%s, %v", line, err)
	}
	began := time.Now()
	stop()
	if err := <-done; err != nil || time.Since(began) > 20*time.Second {
		t.Errorf("it ended after %s: %v", time.Since(began), err)
	}
}
