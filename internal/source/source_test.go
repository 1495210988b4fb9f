package source_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"rqvault/backup"
	"rqvault/internal/job"
	"rqvault/internal/keyspace"
	"rqvault/internal/live"
	"rqvault/internal/rdb"
	"rqvault/internal/redistest"
	"rqvault/internal/rq"
	"rqvault/internal/source"
)

func dial(t testing.TB, url string) *live.Server {
	t.Helper()
	target, err := live.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	s, err := live.Dial(t.Context(), target, live.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// fill gives a server jobs in two databases, and keys of every kind.
func fill(r *redistest.Server) {
	r.Do("EVAL", `
		for i = 1, 500 do
			local id = string.format('job%03d', i)
			redis.call('hset', 'rq:job:'..id, 'data', 'x', 'status', 'queued', 'origin', 'q', 'created_at', '2026-11-23T06:32:30.111182Z')
			redis.call('rpush', 'rq:queue:q', id)
			if i % 100 == 0 then redis.call('pexpire', 'rq:job:'..id, 100000000) end
		end
		redis.call('sadd', 'rq:queues', 'rq:queue:q')
		redis.call('zadd', 'rq:wip:q', 1, 'job001')
		redis.call('sadd', 'rq:job:job001:dependents', 'job002')
		redis.call('xadd', 'rq:results:job001', '1795415550123-0', 'type', '1')
		redis.call('set', 'session:1', string.rep('v', 3000))
		redis.call('select', 3)
		redis.call('hset', 'rq:job:other', 'data', 'x', 'status', 'queued', 'created_at', '2026-11-23T06:32:30.111182Z')
		redis.call('rpush', 'rq:queue:p', 'other')
		redis.call('set', 'bin\0\255', '1')`, 0)
}

const keysFilled = 500 + 6 + 3 // jobs, the rest of database 0, database 3

func options(s *live.Server, via string) source.Options {
	return source.Options{Server: s, Schema: rq.Schema{}, Via: via}
}

// dump opens a dump, reads it to its end and proves it.
func dump(t testing.TB, o source.Options) (*backup.Dump, []byte, rdb.Summary) {
	t.Helper()
	r, err := source.New(o)
	if err != nil {
		t.Fatal(err)
	}
	d, err := r.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := d.Body.Close(); err != nil {
			t.Error(err)
		}
	}()
	var raw bytes.Buffer
	w := rdb.NewWalker(io.TeeReader(d.Body, &raw), rdb.Options{Size: max(d.Size, 0), Trailing: d.Trailing})
	for {
		c, err := w.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		c.Release()
	}
	return d, raw.Bytes(), w.Summary()
}

func TestEachWayGivesTheWholeServer(t *testing.T) {
	r := redistest.Start(t)
	fill(r)
	want := r.Digest(t.Context())
	for _, via := range []string{source.Bgsave, source.Sync, source.Scan} {
		began := time.Now()
		d, raw, sum := dump(t, options(dial(t, r.URL()), via))
		if sum.Keys != keysFilled || sum.Checksum != rdb.Verified {
			t.Errorf("%s: got %d keys, checksum %s, want %d, verified", via, sum.Keys, sum.Checksum, keysFilled)
		}
		if d.Via != via || d.Reason != "asked for" || d.Atomic != (via != source.Scan) || d.Before.RunID == "" {
			t.Errorf("%s: got via %q, reason %q, atomic %v, run id %q", via, d.Via, d.Reason, d.Atomic, d.Before.RunID)
		}
		if d.Size >= 0 && d.Size != int64(len(raw)) {
			t.Errorf("%s: told %d bytes, got %d", via, d.Size, len(raw))
		}
		if d.At.Before(began.Add(-time.Minute)) || d.At.After(time.Now().Add(time.Minute)) {
			t.Errorf("%s: stands for %s, taken at %s", via, d.At, began)
		}
		after, warnings := d.After(t.Context())
		if after.RunID != d.Before.RunID || len(warnings) != 0 {
			t.Errorf("%s: after it got run id %q, %q", via, after.RunID, warnings)
		}
		// A stock server loads it and holds the same.
		to := redistest.Start(t)
		to.Kill()
		if err := os.WriteFile(to.DumpPath(), raw, 0o600); err != nil {
			t.Fatal(err)
		}
		to.Restart(false)
		if got := to.Digest(t.Context()); got != want {
			t.Errorf("%s: a server that loaded the dump holds other data", via)
		}
	}
}

func TestEmptyServer(t *testing.T) {
	r := redistest.Start(t)
	for _, via := range []string{source.Bgsave, source.Sync, source.Scan} {
		if _, _, sum := dump(t, options(dial(t, r.URL()), via)); sum.Keys != 0 {
			t.Errorf("%s: got %d keys, want none", via, sum.Keys)
		}
	}
}

func TestAutoTakesTheFirstThatWorks(t *testing.T) {
	r := redistest.Start(t, redistest.WithUser("nosave on >pw ~* +@all -bgsave"), redistest.WithUser("reader on >pw ~* +@all -bgsave -psync -sync"))
	fill(r)
	as := func(user string) string { return strings.Replace(r.SocketURL(), "unix://", "unix://"+user+":pw@", 1) }
	for _, c := range []struct {
		name, url, dir, via string
		says                []string
	}{
		{"all is allowed", r.SocketURL(), "", source.Bgsave, nil},
		{"the dump file is elsewhere", r.SocketURL(), t.TempDir(), source.Sync, []string{"not bgsave"}},
		{"no right to save", as("nosave"), "", source.Sync, []string{"not bgsave"}},
		{"neither right", as("reader"), "", source.Scan, []string{"not bgsave", "not sync"}},
	} {
		o := options(dial(t, c.url), "")
		o.DumpDir = c.dir
		d, _, sum := dump(t, o)
		if d.Via != c.via || sum.Keys != keysFilled {
			t.Errorf("%s: got %s with %d keys, want %s with %d; %s", c.name, d.Via, sum.Keys, c.via, keysFilled, d.Reason)
		}
		for _, want := range c.says {
			if !strings.Contains(d.Reason, want) {
				t.Errorf("%s: reason %q does not say %q", c.name, d.Reason, want)
			}
		}
	}
	// One way was asked for: nothing else is tried.
	for _, via := range []string{source.Bgsave, source.Sync} {
		s, err := source.New(options(dial(t, as("reader")), via))
		if err != nil {
			t.Fatal(err)
		}
		if d, err := s.Open(t.Context()); err == nil {
			t.Errorf("%s without the right to it: got a dump by %s", via, d.Via)
		}
	}
}

func TestUnknownWay(t *testing.T) {
	for _, via := range []string{"rsync", "AUTO", " ", "bgsave "} {
		if _, err := source.New(source.Options{Via: via}); !errors.Is(err, source.ErrUnknownWay) {
			t.Errorf("%q: got %v, want ErrUnknownWay", via, err)
		}
	}
	for _, via := range append(slices.Clone(source.Ways), "") {
		if _, err := source.New(source.Options{Via: via}); err != nil {
			t.Errorf("%q: got %v", via, err)
		}
	}
}

func records(t testing.TB, s *live.Server, match string) []keyspace.Record {
	t.Helper()
	var all []keyspace.Record
	for rec, err := range source.Records(t.Context(), s, rq.Schema{}, match, nil) {
		if err != nil {
			t.Fatal(err)
		}
		r := *rec
		r.Key = slices.Clone(r.Key)
		all = append(all, r)
	}
	return all
}

// Whoever enqueues during a scan must not make a job look as if it were in no list.
func TestListsComeAfterTheirJobs(t *testing.T) {
	r := redistest.Start(t)
	fill(r)
	seen := map[string]bool{}
	lists := map[int]bool{}
	all := records(t, dial(t, r.URL()), "")
	for _, rec := range all {
		name := fmt.Sprintf("%d/%s", rec.DB, rec.Key)
		if seen[name] {
			t.Errorf("%q came twice", name)
		}
		seen[name] = true
		switch (rq.Schema{}).Classify(rec.Key, rec.Kind).Role {
		case job.List, job.Registry, job.Members, job.QueueList:
			lists[rec.DB] = true
		default:
			if lists[rec.DB] {
				t.Errorf("%q came after a list of ids of its database", name)
			}
		}
		if rec.Offset != -1 || rec.Part != keyspace.Whole {
			t.Errorf("%q: got offset %d, part %d", name, rec.Offset, rec.Part)
		}
	}
	if len(all) != keysFilled {
		t.Errorf("got %d keys, want %d", len(all), keysFilled)
	}
	if got := records(t, dial(t, r.URL()), "rq:queue*"); len(got) != 3 {
		t.Errorf("by pattern: got %d keys, want 3", len(got))
	}
}

// A key that may not be read is left out of a dump, with a word; where nobody asked to
// be told, it is an error.
func TestKeysThatAreRefused(t *testing.T) {
	r := redistest.Start(t, redistest.WithUser("half on >pw ~rq:* +@all"))
	fill(r)
	url := strings.Replace(r.SocketURL(), "unix://", "unix://half:pw@", 1)
	d, _, sum := dump(t, options(dial(t, url), source.Scan))
	_, warnings := d.After(t.Context())
	if sum.Keys != keysFilled-2 || len(warnings) != 2 || !strings.HasPrefix(warnings[0], "left out: ") {
		t.Errorf("got %d keys and %q, want %d and two left out", sum.Keys, warnings, keysFilled-2)
	}
	var got error
	for _, err := range source.Records(t.Context(), dial(t, url), rq.Schema{}, "", nil) {
		got = errors.Join(got, err)
	}
	if got == nil {
		t.Error("nobody to tell: got no error")
	}
}

func TestScanCanBeGivenUp(t *testing.T) {
	r := redistest.Start(t)
	fill(r)
	s, err := source.New(options(dial(t, r.URL()), source.Scan))
	if err != nil {
		t.Fatal(err)
	}
	d, err := s.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(d.Body, make([]byte, 20)); err != nil {
		t.Fatal(err)
	}
	if err := d.Body.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, _ = d.After(ctx); ctx.Err() != nil { // waits for the scan's goroutine
		t.Error("the scan goes on after its body was closed")
	}
	ctx, cancel = context.WithCancel(t.Context())
	if d, err = s.Open(ctx); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := io.Copy(io.Discard, d.Body); err == nil {
		t.Error("cancelled: the dump ended as if it were whole")
	}
	_ = d.Body.Close()
}

func TestImagesAgree(t *testing.T) {
	r := redistest.Start(t)
	fill(r)
	want := map[string]string{}
	for _, via := range []string{"", source.Bgsave, source.Sync} {
		var keys int64
		image, err := source.Image(t.Context(), source.ImageOptions{Options: options(dial(t, r.URL()), via), TempDir: t.TempDir(),
			Before: time.Now(), Seen: func(n int64) { keys = n }})
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for row, err := range image.Rows() {
			if err != nil {
				t.Fatal(err)
			}
			got[fmt.Sprintf("%d/%s", row.DB, row.ID)] = fmt.Sprint(row.Exists, row.Status, row.Queue, row.Places, row.ResultAt, len(row.Parts), row.ExpireAt)
		}
		if image.Atomic() != (via != "") || keys == 0 {
			t.Errorf("%q: got atomic %v, %d keys", via, image.Atomic(), keys)
		}
		if at := time.Date(2026, 11, 23, 6, 32, 30, 123_000_000, time.UTC); !image.Watermark().Equal(at) {
			t.Errorf("%q: got watermark %s, want %s", via, image.Watermark(), at)
		}
		if via == "" {
			want = got
		}
		if len(got) != 501 || !maps.Equal(got, want) {
			t.Errorf("%q: got %d rows, unlike the %d of a scan", via, len(got), len(want))
		}
		if err := image.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestDeadServer(t *testing.T) {
	r := redistest.Start(t)
	fill(r)
	s := dial(t, r.URL())
	r.Kill()
	for _, via := range source.Ways {
		src, err := source.New(options(s, via))
		if err != nil {
			t.Fatal(err)
		}
		if d, err := src.Open(t.Context()); err == nil {
			_, err = io.Copy(io.Discard, d.Body)
			if err == nil {
				t.Errorf("%s: a dump of a dead server", via)
			}
		}
	}
	if im, err := source.Image(t.Context(), source.ImageOptions{Options: options(s, ""), TempDir: t.TempDir()}); err == nil {
		t.Errorf("got an image of a dead server: %v", im)
	}
}
