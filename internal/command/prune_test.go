package command_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"

	"rqvault/internal/redistest"
	"rqvault/internal/s3test"
)

// killer stands between rqvault and an S3 server and, instead of the request that removes
// object number at, kills whoever asked.
type killer struct {
	next http.Handler

	mu   sync.Mutex
	at   int
	kill func() // nil: let everything through
}

func (k *killer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodDelete {
		k.mu.Lock()
		kill := k.kill
		if k.at--; k.at >= 0 {
			kill = nil
		}
		k.mu.Unlock()
		if kill != nil {
			kill()
			panic(http.ErrAbortHandler)
		}
	}
	k.next.ServeHTTP(w, r)
}

func newKiller(t testing.TB, server *s3test.Server) (*killer, *httptest.Server) {
	t.Helper()
	to, err := url.Parse(server.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	// The host is signed, so it stays the one that rqvault asked for.
	k := &killer{next: &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.Out.Host = r.In.Host
	}}}
	front := httptest.NewServer(k)
	t.Cleanup(front.Close)
	return k, front
}

type prunedDoc struct {
	Applied   bool
	Snapshots []struct {
		ID            string
		Keep, Removed bool
	}
}

// TestPruneKilledInTheMiddle kills rqvault with SIGKILL before it removes object 0, 1, 2 …
// After each kill all that is listed is whole, and the next prune leaves what the policy
// keeps.
func TestPruneKilledInTheMiddle(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	k, front := newKiller(t, server)
	v := newVault(t, redistest.WithTCP())
	v.env = append(server.Env(), "AWS_ENDPOINT_URL_S3="+front.URL)
	v.store = "s3://" + server.Bucket + "/prune"
	v.rq(`for i in range(3): queue('q').enqueue('tasks.note', job_id='o%d' % i)`)
	v.backup()
	for at := 0; ; at++ {
		v.backup()
		v.want(0, "verify")
		if !kill(t, v, k, at) {
			if at < 6 { // a marker, a manifest, a verification and three objects
				t.Errorf("rqvault was killed only %d times", at)
			}
			break
		}
		v.want(0, "verify", "--all", "--no-stamp")
		var doc prunedDoc
		v.want(0, "prune", "--keep-last", "1", "--apply", "--json").into(t, &doc)
		left := 0
		for _, s := range doc.Snapshots {
			if !s.Removed {
				left++
			}
		}
		if left != 1 || !doc.Applied {
			t.Fatalf("killed at object %d: the next prune says %+v", at, doc)
		}
		if rows := strings.Count(v.want(0, "snapshots").out, "default"); rows != 1 {
			t.Errorf("killed at object %d: then %d snapshots are listed, want 1", at, rows)
		}
	}
}

// kill runs a prune and kills it before it removes object number at. It reports whether that
// came to pass.
func kill(t *testing.T, v *vault, k *killer, at int) bool {
	t.Helper()
	cmd := process(t, v.args([]string{"prune", "--keep-last", "1", "--apply"}), v.env...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	k.mu.Lock()
	k.at, k.kill = at, func() { _ = cmd.Process.Signal(os.Kill) }
	k.mu.Unlock()
	_ = cmd.Wait() // how it ended is the result
	k.mu.Lock()
	k.kill = nil
	k.mu.Unlock()
	return cmd.ProcessState.ExitCode() < 0
}

// TestPinsAndFreezesInS3 walks through what a person says of snapshots in a bucket.
func TestPinsAndFreezesInS3(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t)
	v := newVault(t)
	v.env = server.Env()
	v.store = server.URL("vault")
	v.rq(`for i in range(3): queue('q').enqueue('tasks.note', '` + marker + `', job_id='o%d' % i)`)
	first := wantFields(t, "backup", v.document(0, "backup", "--via", "sync"), "id")["id"].(string)
	v.want(0, "pin", "latest", "--reason", "before the move")
	v.s.Do("FLUSHALL")
	v.backup()
	v.want(0, "verify")
	v.want(7, "prune", "--keep-last", "1", "--apply")
	v.want(0, "thaw")
	v.want(0, "unpin", first)
	doc := wantFields(t, "prune", v.document(0, "prune", "--keep-last", "1", "--apply"), "source", "policy", "applied", "frozen", "snapshots", "leftovers")
	one := wantFields(t, "snapshot", firstOf(t, "snapshots", doc["snapshots"], 2), "id", "keep", "reasons", "created_at", "stored_size", "pinned", "removed")
	if one["removed"] != true || one["keep"] != false || doc["policy"] != "last 1" {
		t.Errorf("prune says %v", doc)
	}
	if rows := v.document(0, "snapshots").([]any); len(rows) != 1 {
		t.Errorf("left are %v", rows)
	}
}
