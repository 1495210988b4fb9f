package s3_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"slices"
	"testing"
	"time"

	"rqvault/internal/s3test"
	"rqvault/internal/snapshot"
	"rqvault/internal/store/s3"
	"rqvault/internal/store/storetest"
)

const always = 1 << 30

func quiet(*testing.T) *log.Logger { return log.New(io.Discard, "", 0) }

// patience shortens the idle limit where the fault is silence. Elsewhere a busy
// machine must not look like a fault.
func patience(f fault) func(*s3.Options) {
	return func(o *s3.Options) {
		if f == stallReply || f == stallWrite || f == stallBody {
			o.IdleTimeout, o.Attempts = 500*time.Millisecond, 4
		}
	}
}

// After each fault there is either the right object and no error, or an error and
// no object; never an unfinished upload.
func TestWriteFaults(t *testing.T) {
	server := s3test.Start(t)
	for _, c := range []struct {
		name   string
		size   int
		op     string
		times  int
		fault  fault
		stored bool
	}{
		{"PUT answer lost", 1000, "PutObject", 1, dropReply, true},
		{"every PUT answer lost", 1000, "PutObject", always, dropReply, true},
		{"PUT dropped twice", 1000, "PutObject", 2, dropBefore, true},
		{"every PUT dropped", 1000, "PutObject", always, dropBefore, false},
		{"PUT refused twice by 503", 1000, "PutObject", 2, slowDown, true},
		{"every PUT refused by 503", 1000, "PutObject", always, slowDown, false},
		{"PUT without an answer", 1000, "PutObject", 1, stallReply, true},
		{"no PUT answered", 1000, "PutObject", always, stallReply, false},
		{"PUT not read", smallPart, "PutObject", 1, stallWrite, true},
		{"PUT with a wrong body", 1000, "PutObject", always, spoilBody, false},
		{"create upload dropped", 3 * smallPart, "CreateMultipartUpload", 2, dropBefore, true},
		{"create upload answer lost", 3 * smallPart, "CreateMultipartUpload", 1, dropReply, true},
		{"create upload refused", 3 * smallPart, "CreateMultipartUpload", always, slowDown, false},
		{"part answers lost", 3 * smallPart, "UploadPart", 3, dropReply, true},
		{"parts refused twice", 3 * smallPart, "UploadPart", 2, slowDown, true},
		{"all parts refused", 3 * smallPart, "UploadPart", always, slowDown, false},
		{"part without an answer", 3 * smallPart, "UploadPart", 1, stallReply, true},
		{"part not read", 3 * smallPart, "UploadPart", 1, stallWrite, true},
		{"parts with wrong bodies", 3 * smallPart, "UploadPart", always, spoilBody, false},
		{"complete answer lost", 3 * smallPart, "CompleteMultipartUpload", 1, dropReply, true},
		{"every complete answer lost", 3 * smallPart, "CompleteMultipartUpload", always, dropReply, true},
		{"complete dropped twice", 3 * smallPart, "CompleteMultipartUpload", 2, dropBefore, true},
		{"every complete dropped", 3 * smallPart, "CompleteMultipartUpload", always, dropBefore, false},
		{"every complete refused", 3 * smallPart, "CompleteMultipartUpload", always, slowDown, false},
		{"complete without an answer", 3 * smallPart, "CompleteMultipartUpload", 1, stallReply, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newProxy(t, server, false, on(c.op, c.times, c.fault))
			prefix := "faults/" + c.op + "/" + c.name
			s, direct := p.store(t, func(o *s3.Options) { o.Prefix = prefix }, patience(c.fault)), server.Store(t, prefix)
			data := storetest.Bytes(c.size)
			err := storetest.TryPut(t.Context(), s, "k", data)
			if got := storetest.Keys(t, direct.Abandoned(t.Context())); got != nil {
				t.Errorf("unfinished uploads: got %q, want none", got)
			}
			got, readErr := storetest.Get(t.Context(), direct, "k", 0, -1)
			if !c.stored {
				if err == nil || !errors.Is(readErr, snapshot.ErrNotFound) {
					t.Fatalf("got error %v, then reading it %v; want an error and no object", err, readErr)
				}
				return
			}
			if err != nil || readErr != nil || !bytes.Equal(got, data) {
				t.Fatalf("got error %v, then %d bytes and error %v; want the object", err, len(got), readErr)
			}
		})
	}
}

// A cancellation in the very request that begins an upload must not lose its id.
func TestCancelledWhileUploadBegins(t *testing.T) {
	server := s3test.Start(t)
	ctx, cancel := context.WithCancel(t.Context())
	p := newProxy(t, server, false, func(op string, _ int, _ *http.Request) fault {
		if op == "CreateMultipartUpload" {
			cancel()
		}
		return pass
	})
	err := storetest.TryPut(ctx, p.store(t), "k", storetest.Bytes(2*smallPart))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v, want %v", err, context.Canceled)
	}
	p.front.Close() // waits for what is under way
	storetest.Empty(t, server.Store(t, ""))
}

// The parts that cross a digest check over TLS are not signed: the digest header is
// all that protects them.
func TestWrongBodyOverTLS(t *testing.T) {
	server := s3test.Start(t)
	for _, c := range []struct {
		name, op, checksum string
		size               int
	}{
		{"sha256", "PutObject", "", 1000},
		{"crc64", "UploadPart", "", 2 * smallPart},
		{"md5", "PutObject", s3.ChecksumOff, 1000},
		{"md5 of parts", "UploadPart", s3.ChecksumOff, 2 * smallPart},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newProxy(t, server, true, on(c.op, always, spoilBody))
			s := p.store(t, func(o *s3.Options) { o.Checksum = c.checksum })
			if err := storetest.TryPut(t.Context(), s, c.name, storetest.Bytes(c.size)); err == nil {
				t.Error("a body that changed on its way was stored")
			}
			if got := p.of(c.op)[0].header.Get("X-Amz-Content-Sha256"); got != "UNSIGNED-PAYLOAD" {
				t.Errorf("the payload is signed (%s): this proves nothing of the digest", got)
			}
			storetest.Empty(t, server.Store(t, ""))
		})
	}
}

// A conflict with somebody else's object is one, however the answer got lost.
func TestLostAnswerToRefusal(t *testing.T) {
	server := s3test.Start(t)
	for _, size := range []int{10, 2 * smallPart} {
		storetest.Put(t, server.Store(t, ""), "k", []byte("theirs"))
		for _, f := range []fault{dropReply, stallReply, slowDown} {
			p := newProxy(t, server, false, func(op string, n int, _ *http.Request) fault {
				if op == "PutObject" || op == "CompleteMultipartUpload" {
					return f
				}
				return pass
			})
			err := storetest.TryPut(t.Context(), p.store(t, patience(f)), "k", storetest.Bytes(size))
			if !errors.Is(err, snapshot.ErrExists) {
				t.Errorf("%d bytes: got error %v, want %v", size, err, snapshot.ErrExists)
			}
		}
		direct := server.Store(t, "")
		if got, err := storetest.Get(t.Context(), direct, "k", 0, -1); err != nil || string(got) != "theirs" {
			t.Errorf("the object now holds %d bytes, error %v", len(got), err)
		}
		if err := direct.Remove(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
		storetest.Empty(t, direct)
	}
}

func TestReadFaults(t *testing.T) {
	server := s3test.Start(t)
	const size = 12 * mib
	data := storetest.Bytes(size)
	storetest.Put(t, server.Store(t, "", smallParts), "large", data)
	storetest.Put(t, server.Store(t, ""), "small", data[:1000])
	// Each cut leaves half of what is asked for, so the rest halves.
	for _, c := range []struct {
		name  string
		key   string
		from  int64
		times int
		fault fault
		want  error
	}{
		{"cut once", "large", 0, 1, cutBody, nil},
		{"cut often", "large", 0, 8, cutBody, nil},
		{"cut in a range", "large", 5, 3, cutBody, nil},
		{"stalled", "large", 0, 2, stallBody, nil},
		{"stalled before the first byte", "large", 0, 2, stallReply, nil},
		{"dropped", "small", 0, 2, dropBefore, nil},
		{"refused twice", "small", 0, 2, slowDown, nil},
		{"cut for ever", "large", 0, always, cutBody, io.ErrUnexpectedEOF},
		{"spoilt", "small", 0, always, spoilAnswer, s3.ErrChecksum},
		{"spoilt, of parts", "large", 0, always, spoilAnswer, s3.ErrChecksum},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newProxy(t, server, false, on("GetObject", c.times, c.fault))
			want := data[c.from:]
			if c.key == "small" {
				want = data[c.from:1000]
			}
			got, err := storetest.Get(t.Context(), p.store(t, patience(c.fault)), c.key, c.from, -1)
			if c.want != nil {
				if !errors.Is(err, c.want) {
					t.Fatalf("got error %v, want %v", err, c.want)
				}
				return
			}
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("got %d bytes and error %v, want the right %d", len(got), err, len(want))
			}
			reads := p.of("GetObject")
			if c.fault == cutBody && (len(reads) != c.times+1 || reads[1].header.Get("If-Match") == "") {
				t.Errorf("got %d requests, the second with %v; want %d, pinned by If-Match",
					len(reads), reads[1].header, c.times+1)
			}
		})
	}
}

// A whole object is checked even when it came in pieces.
func TestSpoiltAfterReopening(t *testing.T) {
	server := s3test.Start(t)
	storetest.Put(t, server.Store(t, ""), "k", storetest.Bytes(mib))
	p := newProxy(t, server, false, func(op string, n int, _ *http.Request) fault {
		switch {
		case op == "GetObject" && n == 0:
			return cutBody
		case op == "GetObject":
			return spoilAnswer
		}
		return pass
	})
	r, err := p.store(t).Open(t.Context(), "k", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	// Read exactly the known length, as callers do that never ask for the end.
	if _, err := io.ReadFull(r, make([]byte, mib)); !errors.Is(err, s3.ErrChecksum) {
		t.Errorf("got error %v, want %v", err, s3.ErrChecksum)
	}
}

func TestObjectReplacedWhileRead(t *testing.T) {
	server := s3test.Start(t)
	direct := server.Store(t, "")
	storetest.Put(t, direct, "k", storetest.Bytes(mib))
	p := newProxy(t, server, false, func(op string, n int, _ *http.Request) fault {
		if op != "GetObject" {
			return pass
		}
		if n == 1 {
			if err := direct.Remove(context.Background(), "k"); err != nil {
				t.Error(err)
			}
			if err := storetest.TryPut(context.Background(), direct, "k", storetest.Bytes(mib-1)); err != nil {
				t.Error(err)
			}
		}
		return cutBody
	})
	got, err := storetest.Get(t.Context(), p.store(t), "k", 0, -1)
	if err == nil || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %d bytes and error %v, want an error", len(got), err)
	}
}

// What is damaged on the server's disk is noticed by a whole read.
func TestDamageOnDisk(t *testing.T) {
	server := s3test.Start(t)
	s := server.Store(t, "", smallParts)
	for key, size := range map[string]int{"small": 1000, "large": 2 * smallPart} {
		data := storetest.Bytes(size)
		storetest.Put(t, s, key, data)
		damaged := slices.Clone(data)
		damaged[size/3] ^= 8
		overwrite(t, server.File(key), damaged)
		if _, err := storetest.Get(t.Context(), s, key, 0, -1); !errors.Is(err, s3.ErrChecksum) {
			t.Errorf("%s: got error %v, want %v", key, err, s3.ErrChecksum)
		}
	}
}
