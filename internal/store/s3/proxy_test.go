package s3_test

import (
	"bytes"
	"context"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"rqvault/internal/s3test"
	"rqvault/internal/store/s3"
)

// fault is what the proxy does to one request.
type fault int

const (
	pass        fault = iota
	dropBefore        // close the connection, nothing reaches the server
	dropReply         // the server does it, the client never hears
	slowDown          // 503
	stallReply        // read the request, answer nothing
	stallWrite        // read nothing of the request's body
	stallBody         // half of the answer's body, then nothing
	cutBody           // half of the answer's body, then close
	spoilBody         // one bit of the request's body flipped
	spoilAnswer       // one bit of the answer's body flipped
)

// request is what the tests look at of one request that came through.
type request struct {
	op     string // operation's name in the SDK
	header http.Header
	body   int64
}

// proxy stands between a store and a real server. The rule sees each request and
// how many of its kind came before.
type proxy struct {
	server *s3test.Server
	front  *httptest.Server
	rule   func(op string, n int, r *http.Request) fault
	over   chan struct{} // closed when the test ends: net/http cannot tell a handler
	// that reads no body that its client is gone

	mu       sync.Mutex
	seen     []request
	counts   map[string]int
	inFlight int
	most     int // requests with parts at the same time
}

func newProxy(t *testing.T, server *s3test.Server, tls bool, rule func(op string, n int, r *http.Request) fault) *proxy {
	t.Helper()
	p := &proxy{server: server, rule: rule, counts: map[string]int{}, over: make(chan struct{})}
	p.front = httptest.NewUnstartedServer(p)
	p.front.Config.ErrorLog = quiet(t)
	if tls {
		p.front.StartTLS()
	} else {
		p.front.Start()
	}
	t.Cleanup(func() {
		close(p.over)
		p.front.Close()
	})
	return p
}

// store opens the server's bucket through the proxy.
func (p *proxy) store(t *testing.T, change ...func(*s3.Options)) *s3.Store {
	t.Helper()
	p.server.Setenv(t)
	if cert := p.front.Certificate(); cert != nil {
		file := filepath.Join(t.TempDir(), "proxy.pem")
		block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
		if err := os.WriteFile(file, block, 0o600); err != nil {
			t.Fatal(err)
		}
		t.Setenv("AWS_CA_BUNDLE", file)
	}
	o := s3.Options{
		Bucket: p.server.Bucket, Endpoint: p.front.URL, PartSize: smallPart,
		Attempts: 3, MaxBackoff: 20 * time.Millisecond,
	}
	for _, f := range change {
		f(&o)
	}
	s, err := s3.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// operation names a request as the SDK does.
func operation(r *http.Request) string {
	q := r.URL.Query()
	switch {
	case r.Method == http.MethodPut && q.Has("partNumber"):
		return "UploadPart"
	case r.Method == http.MethodPut:
		return "PutObject"
	case r.Method == http.MethodPost && q.Has("uploads"):
		return "CreateMultipartUpload"
	case r.Method == http.MethodPost:
		return "CompleteMultipartUpload"
	case r.Method == http.MethodDelete && q.Has("uploadId"):
		return "AbortMultipartUpload"
	case r.Method == http.MethodDelete:
		return "DeleteObject"
	case r.Method == http.MethodHead:
		return "HeadObject"
	case q.Has("list-type") || q.Has("uploads"):
		return "List"
	}
	return "GetObject"
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	op := operation(r)
	p.mu.Lock()
	n := p.counts[op]
	p.counts[op]++
	p.seen = append(p.seen, request{op, r.Header.Clone(), r.ContentLength})
	if op == "UploadPart" {
		p.inFlight++
		p.most = max(p.most, p.inFlight)
	}
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if op == "UploadPart" {
			p.inFlight--
		}
	}()
	f := p.rule(op, n, r)
	if f == stallWrite {
		<-p.over
		panic(http.ErrAbortHandler)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	switch f {
	case dropBefore:
		panic(http.ErrAbortHandler)
	case stallReply:
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	case slowDown:
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, `<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>wait</Message></Error>`)
		return
	case spoilBody:
		body[len(body)/2] ^= 1
	}
	p.forward(w, r, body, f)
}

// forward sends the request on as it is. The signature covers the host that the
// client named, so that stays. What has begun is finished, like a server would, when
// the client goes away.
func (p *proxy) forward(w http.ResponseWriter, r *http.Request, body []byte, f fault) {
	out, err := http.NewRequestWithContext(context.WithoutCancel(r.Context()), r.Method, p.server.Endpoint+r.URL.RequestURI(), bytes.NewReader(body))
	if err != nil {
		panic(err)
	}
	out.Header, out.Host = r.Header.Clone(), r.Host
	out.Header.Del("Expect")
	if len(body) == 0 {
		out.Body = http.NoBody
	}
	resp, err := plain.RoundTrip(out)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || f == dropReply {
		panic(http.ErrAbortHandler)
	}
	if f == spoilAnswer {
		answer[len(answer)/2] ^= 1
	}
	for name, values := range resp.Header {
		w.Header()[name] = values
	}
	if r.Method != http.MethodHead {
		w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
	}
	w.WriteHeader(resp.StatusCode)
	if f == cutBody || f == stallBody {
		answer = answer[:len(answer)/2]
	}
	_, _ = w.Write(answer)
	if f == cutBody || f == stallBody {
		_ = http.NewResponseController(w).Flush()
		if f == stallBody {
			<-r.Context().Done()
		}
		panic(http.ErrAbortHandler)
	}
}

var plain = &http.Transport{DisableCompression: true}

// of returns the requests of one kind that came so far.
func (p *proxy) of(op string) []request {
	p.mu.Lock()
	defer p.mu.Unlock()
	var found []request
	for _, r := range p.seen {
		if r.op == op {
			found = append(found, r)
		}
	}
	return found
}

// on returns a rule that applies a fault to the first n requests of one kind.
func on(op string, times int, f fault) func(string, int, *http.Request) fault {
	return func(got string, n int, _ *http.Request) fault {
		if got == op && n < times {
			return f
		}
		return pass
	}
}

func hasPrefixFold(s, prefix string) bool {
	return strings.HasPrefix(strings.ToLower(s), strings.ToLower(prefix))
}
