package s3_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"rqvault/internal/lease"
	"rqvault/internal/s3test"
	"rqvault/internal/snapshot"
	"rqvault/internal/store/s3"
	"rqvault/internal/store/storetest"
)

func cell(t testing.TB, s *s3.Store) lease.Cell {
	t.Helper()
	c, err := s.Cell("leases/x.json")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCell(t *testing.T) {
	for name, start := range map[string]func(testing.TB) *s3test.Server{"http": s3test.Start, "https": s3test.StartTLS} {
		for _, checksum := range []string{"", s3.ChecksumOff} {
			t.Run(name+checksum, func(t *testing.T) {
				s := start(t).Store(t, "p", func(o *s3.Options) { o.Checksum = checksum })
				storetest.RunCell(t, func(t testing.TB) lease.Cell { return cell(t, s) })
			})
		}
	}
}

// Whatever becomes of an answer, a caller hears success if and only if its value is stored.
func TestCellBehindABadLine(t *testing.T) {
	server := s3test.Start(t)
	for _, c := range []struct {
		name  string
		times int
		fault fault
		done  bool
	}{
		{"the answer is dropped once", 1, dropReply, true},
		{"each answer is dropped", always, dropReply, true},
		{"the answer stalls", 1, stallReply, true},
		{"busy", 2, slowDown, true},
		{"always busy", always, slowDown, false},
		{"nothing arrives", always, dropBefore, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			prefix := server.NewBucket(t)
			direct := cell(t, server.Store(t, prefix))
			p := newProxy(t, server, false, on("PutObject", c.times, c.fault))
			behind := cell(t, p.store(t, patience(c.fault), func(o *s3.Options) { o.Prefix = prefix }))
			for _, value := range []string{"first", "second"} {
				_, before, err := direct.Load(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				tag, err := behind.Swap(t.Context(), before, []byte(value))
				v, now, loadErr := direct.Load(t.Context())
				if loadErr != nil {
					t.Fatal(loadErr)
				}
				switch {
				case c.done && (err != nil || tag != now || string(v) != value):
					t.Errorf("got tag %q and error %v, stored is %q with tag %q", tag, err, v, now)
				case !c.done && (err == nil || errors.Is(err, lease.ErrMoved) || now != before):
					t.Errorf("got error %v, stored is %q", err, v)
				}
			}
			theirs, err := direct.Swap(t.Context(), tagOf(t, direct), []byte("theirs"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := behind.Swap(t.Context(), "", []byte("third")); !errors.Is(err, lease.ErrMoved) {
				t.Errorf("refused: got error %v, want %v", err, lease.ErrMoved)
			}
			if now := tagOf(t, direct); now != theirs {
				t.Errorf("their value is gone")
			}
		})
	}
}

func tagOf(t testing.TB, c lease.Cell) string {
	t.Helper()
	_, tag, err := c.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return tag
}

func TestCellNobodyAnswers(t *testing.T) {
	server := s3test.Start(t)
	p := newProxy(t, server, false, func(string, int, *http.Request) fault { return stallReply })
	c := cell(t, p.store(t))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := c.Swap(ctx, "", []byte("x")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got error %v, want %v", err, context.DeadlineExceeded)
	}
	if _, _, err := c.Load(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got error %v, want %v", err, context.DeadlineExceeded)
	}
	missing := server.Store(t, "", func(o *s3.Options) { o.Bucket = "no-such-bucket" })
	if _, _, err := cell(t, missing).Load(t.Context()); !errors.Is(err, snapshot.ErrNoStore) {
		t.Errorf("got error %v, want %v", err, snapshot.ErrNoStore)
	}
}
