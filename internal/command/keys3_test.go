package command_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"rqvault/internal/s3test"
)

// meter stands before an S3 server and counts the bytes of the objects' bodies it sends.
type meter struct {
	front           *httptest.Server
	bytes, requests atomic.Int64
}

func newMeter(t testing.TB, server *s3test.Server) *meter {
	t.Helper()
	to, err := url.Parse(server.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	m := new(meter)
	m.front = httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Host = r.In.Host // it is signed
		},
		ModifyResponse: func(r *http.Response) error {
			if r.Request.Method == http.MethodGet && !r.Request.URL.Query().Has("list-type") {
				m.requests.Add(1)
				r.Body = &metered{r.Body, m}
			}
			return nil
		},
	})
	t.Cleanup(m.front.Close)
	return m
}

type metered struct {
	io.ReadCloser
	m *meter
}

func (b *metered) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.m.bytes.Add(int64(n))
	return n, err
}

// Of an encrypted snapshot in S3 one job comes back by a few ranged reads: its frame, not
// the dump.
func TestOneJobOfAnEncryptedSnapshotInS3(t *testing.T) {
	server := s3test.Start(t)
	m := newMeter(t, server)
	v := newVault(t)
	v.store = "s3://" + server.Bucket + "/vault?endpoint=" + url.QueryEscape(m.front.URL)
	v.env = server.Env()
	identity, recipient := v.operator("ada")
	v.want(0, "key", "new", recipient)
	v.enqueue()
	v.rq(`
p = c.pipeline()
for i in range(20000): p.set('cache:%d' % i, os.urandom(1024))
p.execute()
`)
	v.backup()
	v.s.Do("FLUSHALL")
	m.bytes.Store(0)
	m.requests.Store(0)
	v.want(0, "restore", "--apply", "--job", secretID+"-3", "--identity", identity)
	read, requests := m.bytes.Load(), m.requests.Load()
	v.wantList(secretQueue, secretID+"-3")
	var rows []struct {
		StoredSize int64 `json:"stored_size"`
	}
	v.want(0, "snapshots", "--json").into(t, &rows)
	if len(rows) != 1 || rows[0].StoredSize < 20<<20 {
		t.Fatalf("the snapshots: %+v", rows)
	}
	if read > rows[0].StoredSize/10 {
		t.Errorf("one job cost %d of %d stored bytes", read, rows[0].StoredSize)
	}
	t.Logf("one job cost %d of %d stored bytes, in %d reads", read, rows[0].StoredSize, requests)
	if r := v.want(0, "verify", "--identity", identity); !strings.Contains(r.out, "is whole") {
		t.Errorf("verify: %s", r.out)
	}
}
