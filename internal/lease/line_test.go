package lease_test

import (
	"bytes"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// What a line does to a request.
const (
	sound     = iota
	cut       // nothing arrives, nothing comes back
	deafening // a PUT is done, and nothing comes back
)

// line is one contender's way to an S3 server.
type line struct {
	server string
	front  *httptest.Server
	over   chan struct{}

	mu      sync.Mutex
	state   int
	dropped int // answers to a PUT that had been done
}

func newLine(t testing.TB, server string) *line {
	l := &line{server: server, over: make(chan struct{})}
	l.front = httptest.NewUnstartedServer(l)
	l.front.Config.ErrorLog = log.New(io.Discard, "", 0)
	l.front.Start()
	t.Cleanup(func() {
		close(l.over)
		l.front.Close()
	})
	return l
}

func (l *line) set(state int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state, l.dropped = state, 0
}

func (l *line) lost() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dropped
}

func (l *line) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	state := l.state
	l.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if state == cut {
		select {
		case <-r.Context().Done():
		case <-l.over:
		}
		panic(http.ErrAbortHandler)
	}
	out, err := http.NewRequestWithContext(r.Context(), r.Method, l.server+r.URL.RequestURI(), bytes.NewReader(body))
	if err != nil {
		panic(err)
	}
	out.Header, out.Host = r.Header.Clone(), r.Host // as it was signed
	if len(body) == 0 {
		out.Body = http.NoBody
	}
	resp, err := http.DefaultTransport.RoundTrip(out)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer resp.Body.Close()
	if state == deafening && r.Method == http.MethodPut {
		l.mu.Lock()
		if resp.StatusCode == http.StatusOK {
			l.dropped++
		}
		l.mu.Unlock()
		panic(http.ErrAbortHandler)
	}
	for name, values := range resp.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(resp.StatusCode)
	_, _ = io.Copy(w, resp.Body)
}
