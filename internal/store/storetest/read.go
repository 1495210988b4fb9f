package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"rqvault/internal/snapshot"
)

func testRoundTrip(t *testing.T, s snapshot.Store) {
	for _, size := range []int{0, 1, 5 * mib, 5*mib + 1, 8 * mib, 40 * mib} {
		key, want := fmt.Sprintf("a/b-%d", size), Bytes(size)
		before := time.Now().Add(-time.Minute)
		Put(t, s, key, want)
		wantObject(t, s, key, want)
		o, err := s.Stat(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if o.Key != key || o.Size != int64(size) || o.Modified.Before(before) {
			t.Errorf("stat: got %+v, want key %s, size %d, modified after %s", o, key, size, before)
		}
	}
	if s.String() == "" {
		t.Error("the store has no name")
	}
}

func testRanges(t *testing.T, s snapshot.Store) {
	const size = 6 * mib // two parts, where objects are split
	data := Bytes(size)
	Put(t, s, "k", data)
	Put(t, s, "empty", nil)
	for _, c := range []struct {
		key            string
		offset, length int64
		ok             bool
	}{
		{"k", 0, size, true}, {"k", 0, -1, true}, {"k", 1, -1, true}, {"k", 5*mib - 3, 7, true},
		{"k", size - 1, 1, true}, {"k", size - 1, -1, true}, {"k", size, -1, true}, {"k", size, 0, true},
		{"k", 10, 0, true}, {"empty", 0, -1, true}, {"empty", 0, 0, true},
		{"k", 0, size + 1, false}, {"k", size - 1, 2, false}, {"k", size, 1, false},
		{"k", size + 1, -1, false}, {"k", size + 1, 0, false}, {"k", size + 5, 3, false},
		{"k", 5, 1<<63 - 1, false}, {"k", -1, 1, false}, {"k", 0, -2, false},
		{"empty", 0, 1, false}, {"empty", 1, -1, false},
	} {
		name := fmt.Sprintf("%s from %d length %d", c.key, c.offset, c.length)
		got, err := Get(t.Context(), s, c.key, c.offset, c.length)
		if !c.ok {
			if err == nil {
				t.Errorf("%s: got %d bytes, want an error", name, len(got))
			} else if c.offset >= 0 && c.length >= -1 && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s: got error %v, want %v", name, err, io.ErrUnexpectedEOF)
			}
			continue
		}
		want := data
		if c.key == "empty" {
			want = nil
		}
		want = want[c.offset:]
		if c.length >= 0 {
			want = want[:c.length]
		}
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: got %d bytes and error %v, want the right %d bytes", name, len(got), err, len(want))
		}
	}
}

func testMissing(t *testing.T, s snapshot.Store) {
	Put(t, s, "dir/there", []byte("x"))
	for _, key := range []string{"missing", "dir/missing", "dir", "dir/there/below"} {
		_, err := s.Stat(t.Context(), key)
		wantError(t, "stat "+key, err, snapshot.ErrNotFound)
		for _, length := range []int64{-1, 0, 1} {
			_, err = s.Open(t.Context(), key, 0, length)
			wantError(t, "open "+key, err, snapshot.ErrNotFound)
		}
		if err := s.Remove(t.Context(), key); err != nil {
			t.Errorf("remove %s: %v", key, err)
		}
	}
	wantObject(t, s, "dir/there", []byte("x"))
}

func testInvalidKeys(t *testing.T, s snapshot.Store) {
	Put(t, s, "a/b", []byte("x"))
	ctx := t.Context()
	for _, key := range []string{"", ".", "..", "/", "/a", "a/", "a//b", "../a", "a/../a/b", "a/./b", "./a", "a/.."} {
		if _, err := s.Create(ctx, key); err == nil {
			t.Errorf("create %q: want an error", key)
		}
		if _, err := s.Open(ctx, key, 0, -1); err == nil {
			t.Errorf("open %q: want an error", key)
		}
		if _, err := s.Stat(ctx, key); err == nil {
			t.Errorf("stat %q: want an error", key)
		}
		if err := s.Remove(ctx, key); err == nil {
			t.Errorf("remove %q: want an error", key)
		}
		if err := s.Discard(ctx, snapshot.Object{Key: key}); err == nil {
			t.Errorf("discard %q: want an error", key)
		}
	}
	for _, prefix := range []string{"/", "../", "a//", "./"} {
		if got := Keys(t, s.List(ctx, prefix, "")); got != nil {
			t.Errorf("list %q: got %q, want nothing", prefix, got)
		}
	}
	if got := Keys(t, s.List(ctx, "", "")); !slices.Equal(got, []string{"a/b"}) {
		t.Errorf("list: got %q, want only a/b", got)
	}
}

// oddNames are in byte order as whole keys. Directories sort by the slash after
// them: a walk that visits names in their own order gets "a-b" and "a/b" wrong.
var oddNames = []string{
	"+", "-", ".hidden/x", "A", "a b/c", "a+b", "a-b", "a-b-/c", "a.b", "a.bc/d", "a/b", "a/b-c", "a0",
	"aa", "b%2Fc", "b&c", "b=c", "dir/.tmp-x", "dir/x", "~", "ü +%", "ü/ö", "日本",
}

func testOrder(t *testing.T, s snapshot.Store) {
	if !slices.IsSorted(oddNames) {
		t.Fatal("the test's own names are not in byte order")
	}
	for i := range oddNames { // in another order than theirs
		name := oddNames[(i*7)%len(oddNames)]
		Put(t, s, name, []byte(name))
	}
	if got := Keys(t, s.List(t.Context(), "", "")); !slices.Equal(got, oddNames) {
		t.Errorf("list:\n got %q\nwant %q", got, oddNames)
	}
	for i, name := range oddNames {
		wantObject(t, s, name, []byte(name))
		if got := Keys(t, s.List(t.Context(), "", name)); !slices.Equal(got, oddNames[i+1:]) {
			t.Errorf("list after %q:\n got %q\nwant %q", name, got, oddNames[i+1:])
		}
	}
}

func testListParts(t *testing.T, s snapshot.Store) {
	keys := []string{"src/m/1", "src/m/2", "src/m/3", "src/n", "src/s/1/dump", "src/s/1/manifest", "srcx"}
	for _, key := range keys {
		Put(t, s, key, []byte(key))
	}
	for _, c := range []struct{ prefix, after string }{
		{"", ""}, {"src/", ""}, {"src", ""}, {"src/m/", ""}, {"src/m", ""}, {"src/m/2", ""}, {"src/s/1/", ""},
		{"src/s/1/d", ""}, {"other/", ""}, {"src/m/1/", ""}, {"srcx/", ""},
		{"src/m/", "src/m/1"}, {"src/m/", "src/m/1a"}, {"src/m/", "a"}, {"src/m/", "z"},
		{"", "src/m/3"}, {"", "src/m"}, {"", "src/s"}, {"", "src/s/1/dump"}, {"", "srcx"}, {"src/m/", "src/m/"},
	} {
		var want []string
		for _, key := range keys {
			if len(key) >= len(c.prefix) && key[:len(c.prefix)] == c.prefix && key > c.after {
				want = append(want, key)
			}
		}
		if got := Keys(t, s.List(t.Context(), c.prefix, c.after)); !slices.Equal(got, want) {
			t.Errorf("list %q after %q: got %q, want %q", c.prefix, c.after, got, want)
		}
	}
	for o, err := range s.List(t.Context(), "src/m/", "") {
		if err != nil || o.Key != "src/m/1" || o.Size != int64(len(o.Key)) || o.Modified.IsZero() {
			t.Errorf("first object: got %+v, %v", o, err)
		}
		break // a caller may stop early
	}
}

func testCancelledCalls(t *testing.T, s snapshot.Store) {
	Put(t, s, "k", Bytes(8*mib))
	ctx, cancel := context.WithCancel(t.Context())
	r, err := s.Open(ctx, "k", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(r, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	cancel()
	_, err = io.Copy(io.Discard, r)
	wantError(t, "read", err, context.Canceled)
	_ = r.Close()

	_, err = s.Create(ctx, "new")
	wantError(t, "create", err, context.Canceled)
	_, err = s.Open(ctx, "k", 0, -1)
	wantError(t, "open", err, context.Canceled)
	_, err = s.Stat(ctx, "k")
	wantError(t, "stat", err, context.Canceled)
	wantError(t, "list", firstError(s.List(ctx, "", "")), context.Canceled)
	wantError(t, "remove", s.Remove(ctx, "k"), context.Canceled)
	if got := Keys(t, s.List(t.Context(), "", "")); !slices.Equal(got, []string{"k"}) {
		t.Errorf("list: got %q, want only k", got)
	}
}
