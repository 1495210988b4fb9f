package watch

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// DefaultAddress is where the daemon listens: for this machine only, and beside the port
// 9121 that redis_exporter has.
const DefaultAddress = "127.0.0.1:19121"

// Health is whether the daemon works and is ready. Its methods may be called at once by many.
type Health struct {
	now   func() time.Time
	stall time.Duration

	mu    sync.Mutex
	tick  time.Time
	parts map[string]part
}

// part is something the daemon needs: a source, a store, its place as leader or follower.
type part struct {
	ok    bool
	why   string
	asked time.Time
	fresh time.Duration
}

// NewHealth returns the health of a daemon that starts now. Its main loop has to tick at
// least once per stall, or it counts as hung.
func NewHealth(now func() time.Time, stall time.Duration) *Health {
	return &Health{now: now, stall: stall, tick: now(), parts: map[string]part{}}
}

// Tick says that the main loop goes round.
func (h *Health) Tick() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tick = h.now()
}

// Set says whether a part is ready, why or why not in a few words without secrets, and for
// how long that may be believed.
func (h *Health) Set(name string, ok bool, why string, fresh time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.parts[name] = part{ok, why, h.now(), fresh}
}

// Drop forgets a part that is not configured any more.
func (h *Health) Drop(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.parts, name)
}

// healthy reports whether the daemon works, with a line that says so.
func (h *Health) healthy() (string, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	age := h.now().Sub(h.tick).Round(time.Second)
	if h.stall > 0 && age > h.stall {
		return fmt.Sprintf("hung: the main loop last went round %s ago\n", age), false
	}
	return "ok\n", true
}

// ready reports whether everything the daemon needs is there, with a line for each. A
// daemon that has not looked yet is not ready.
func (h *Health) ready() (string, bool) {
	text, ok := h.healthy()
	if !ok {
		return text, false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.parts) == 0 {
		return "starting\n", false
	}
	var lines []string
	for name, p := range h.parts {
		age := h.now().Sub(p.asked).Round(time.Second)
		word := "ok"
		switch {
		case !p.ok:
			word, ok = "NOT READY", false
		case age > p.fresh:
			word, ok = "NOT KNOWN", false
		}
		lines = append(lines, fmt.Sprintf("%s: %s, %s, %s ago\n", name, word, p.why, age))
	}
	slices.Sort(lines)
	return strings.Join(lines, ""), ok
}

// Handler serves /metrics, /healthz and /readyz, and nothing else.
func Handler(m *Metrics, h *Health) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		MaxRequestsInFlight: 4,
		Timeout:             20 * time.Second,
		Registry:            nil, // what a scrape costs is Prometheus' own metric
	}))
	mux.HandleFunc("GET /healthz", answer(h.healthy))
	mux.HandleFunc("GET /readyz", answer(h.ready))
	return mux
}

func answer(ask func() (string, bool)) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		text, ok := ask()
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		if !ok {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_, _ = w.Write([]byte(text)) // who asked has gone, if this fails
	}
}

// Listen opens the address at which Serve answers, so that one that is taken is told at the
// start.
func Listen(ctx context.Context, address string) (net.Listener, error) {
	if address == "" {
		address = DefaultAddress
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen for metrics: %w", err)
	}
	return l, nil
}

// Serve answers until ctx is done, and then lets requests end that are under way, for a
// second. It closes the listener.
func Serve(ctx context.Context, l net.Listener, handler http.Handler) error {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		err := server.Shutdown(last)
		if err != nil {
			err = server.Close() // a client that does not read is no reason to stay
		}
		stopped <- err
	})
	err := server.Serve(l)
	if stop() {
		return fmt.Errorf("serve metrics: %w", err) // it ended by itself
	}
	if !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve metrics: %w", err)
	}
	return <-stopped
}
