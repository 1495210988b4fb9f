package s3_test

import (
	"net/http"
	"testing"
	"time"

	"rqvault/internal/s3test"
	"rqvault/internal/store/s3"
	"rqvault/internal/store/storetest"
)

// Many services refuse chunked bodies with trailing digests, and over TLS a body
// without a digest header is not protected at all.
func TestWire(t *testing.T) {
	server := s3test.Start(t)
	for _, c := range []struct {
		name         string
		tls          bool
		checksum     string
		object, part string // header that must hold the digest
	}{
		{"http", false, "", "X-Amz-Checksum-Sha256", "X-Amz-Checksum-Crc64nvme"},
		{"https", true, "", "X-Amz-Checksum-Sha256", "X-Amz-Checksum-Crc64nvme"},
		{"http-off", false, s3.ChecksumOff, "Content-Md5", "Content-Md5"},
		{"https-off", true, s3.ChecksumOff, "Content-Md5", "Content-Md5"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newProxy(t, server, c.tls, func(string, int, *http.Request) fault { return pass })
			s := p.store(t, func(o *s3.Options) { o.Prefix, o.Checksum = c.name, c.checksum })
			storetest.Put(t, s, "empty", nil)
			storetest.Put(t, s, "small", []byte("x"))
			storetest.Put(t, s, "exact", storetest.Bytes(smallPart))
			storetest.Put(t, s, "large", storetest.Bytes(2*smallPart+1))
			if got, want := len(p.of("PutObject")), 3; got != want {
				t.Errorf("plain PUTs: got %d, want %d", got, want)
			}
			if got, want := len(p.of("UploadPart")), 3; got != want {
				t.Errorf("parts: got %d, want %d", got, want)
			}
			for op, header := range map[string]string{"PutObject": c.object, "UploadPart": c.part} {
				for _, r := range p.of(op) {
					digests := 0
					for name := range r.header {
						if name == header {
							digests++
						} else if hasPrefixFold(name, "X-Amz-Checksum-") || hasPrefixFold(name, "X-Amz-Trailer") ||
							hasPrefixFold(name, "X-Amz-Sdk-Checksum") {
							t.Errorf("%s carries %s", op, name)
						}
					}
					if digests != 1 || r.header.Get("Content-Encoding") != "" || r.body < 0 {
						t.Errorf("%s: want %s, no content encoding and a length, got %d bytes and %v", op, header, r.body, r.header)
					}
				}
			}
			for _, op := range []string{"PutObject", "CompleteMultipartUpload"} {
				for _, r := range p.of(op) {
					if r.header.Get("If-None-Match") != "*" {
						t.Errorf("%s may overwrite: %v", op, r.header)
					}
				}
			}
		})
	}
}

func TestMemoryIsBounded(t *testing.T) {
	server := s3test.Start(t)
	const inFlight = 2
	p := newProxy(t, server, false, func(string, int, *http.Request) fault { return pass })
	s := p.store(t, func(o *s3.Options) { o.Concurrency = inFlight })
	w, err := s.Create(t.Context(), "large")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	step := storetest.Bytes(mib)
	for range 60 {
		if _, err := w.Write(step); err != nil {
			t.Fatal(err)
		}
		if made, size := s3.Buffers(w); made > inFlight+1 || size > smallPart {
			t.Fatalf("got %d buffers of %d bytes, want at most %d of %d", made, size, inFlight+1, smallPart)
		}
	}
	if err := w.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.most > inFlight {
		t.Errorf("parts on their way at once: got %d, want at most %d", p.most, inFlight)
	}
}

func TestSmallObjectsAreCheap(t *testing.T) {
	s := s3test.Start(t).Store(t, "", func(o *s3.Options) { o.PartSize = 1 << 30 })
	for _, c := range []struct{ size, limit int }{{1, 64 << 10}, {100 << 10, 256 << 10}, {3 * mib, 8 * mib}} {
		w, err := s.Create(t.Context(), "k")
		if err != nil {
			t.Fatal(err)
		}
		for range c.size {
			if _, err := w.Write([]byte{1}); err != nil {
				t.Fatal(err)
			}
		}
		if made, size := s3.Buffers(w); made != 1 || size > c.limit {
			t.Errorf("%d bytes: got %d buffers of %d bytes, want one of at most %d", c.size, made, size, c.limit)
		}
		w.Abort()
	}
}

func TestPartSize(t *testing.T) {
	for _, c := range []struct {
		number int32
		want   int64
	}{
		{1, 16 * mib}, {1000, 16 * mib}, {1001, 32 * mib}, {2000, 32 * mib}, {2001, 64 * mib}, {10_000, 5 << 30},
	} {
		if got := s3.PartSize(16*mib, c.number); got != c.want {
			t.Errorf("part %d: got %d bytes, want %d", c.number, got, c.want)
		}
	}
}

// The server dies while an object is on its way to it.
func TestServerKilled(t *testing.T) {
	for name, size := range map[string]int{"single": smallPart, "parts": 4 * smallPart} {
		t.Run(name, func(t *testing.T) {
			server := s3test.Start(t)
			before := []byte("stored before")
			storetest.Put(t, server.Store(t, ""), "before", before)
			p := newProxy(t, server, false, func(op string, n int, _ *http.Request) fault {
				if op == "PutObject" || (op == "UploadPart" && n == 1) {
					server.Kill()
				}
				return pass
			})
			s := p.store(t, func(o *s3.Options) { o.Concurrency, o.Attempts = 1, 2 })
			if err := storetest.TryPut(t.Context(), s, "k", storetest.Bytes(size)); err == nil {
				t.Error("want an error")
			}
			server.Restart(t)
			direct := server.Store(t, "")
			got := storetest.Keys(t, direct.List(t.Context(), "", ""))
			if len(got) != 1 || got[0] != "before" {
				t.Errorf("visible: got %q, want only what was stored before", got)
			}
			// The upload could not be aborted: it shows, and can be discarded.
			for o, err := range direct.Abandoned(t.Context()) {
				if err != nil {
					t.Fatal(err)
				}
				if time.Since(o.Modified) > time.Hour {
					t.Errorf("begun at %s, want now", o.Modified)
				}
				if err := direct.Discard(t.Context(), o); err != nil {
					t.Error(err)
				}
			}
			if got := storetest.Keys(t, direct.Abandoned(t.Context())); got != nil {
				t.Errorf("leftovers: got %q, want none", got)
			}
			storetest.Put(t, direct, "k", storetest.Bytes(size))
		})
	}
}
