package command_test

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"rqvault/internal/redistest"
)

// unpack is what a person with zlib and base64 at hand could read in a value.
func unpack(b []byte) []byte {
	all := slices.Clone(b)
	for i := range b {
		if b[i] != 0x78 { // what RQ's compressed texts begin with
			continue
		}
		z, err := zlib.NewReader(bytes.NewReader(b[i:]))
		if err != nil {
			continue
		}
		text, _ := io.ReadAll(z)
		all = append(all, text...)
	}
	return all
}

func TestMaskedJobsHoldNothingOfTheirPayloads(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	before := fill(t, v, 0)
	v.rq("c.set('session:1', '" + marker + "'); c.hset('rq:job:o0', 'invented_later', '" + marker + "'); c.set('rq:invented', '" + marker + "')")
	v.backup()
	staging := newVault(t)
	d := v.into(0, staging.s, "--mask", "--apply")
	if d.Counts["masked"] < 50 || d.Counts["unknown"] < 1 {
		t.Errorf("masked: %v", d.Counts)
	}
	got := look(t, staging.s)
	if told := telling(t, v.s, look(t, v.s)); len(told) < 30 {
		t.Fatalf("only %d keys of the source tell a payload: the test does not see what it should", len(told))
	}
	if told := telling(t, staging.s, got); len(told) > 0 {
		t.Errorf("these still tell something of their payloads: %q", told)
	}
	if e := got["0/session:1"]; e.kind != "string" {
		t.Error("the session was not copied")
	}
	// Everything else looks the same: ids, places, statuses, expiries.
	for k, e := range before.without(runs) {
		_, key, _ := strings.Cut(k, "/")
		g, ok := got[k]
		hash := strings.HasPrefix(key, "rq:job:") && e.kind == "hash"
		switch {
		case strings.HasPrefix(key, "rq:results:") || hash:
			if g.kind != e.kind || g.expireAt != e.expireAt {
				t.Errorf("%s is a %s until %d, want a %s until %d", k, g.kind, g.expireAt, e.kind, e.expireAt)
			}
		case ok && g.payload != e.payload && g.digest != e.digest:
			t.Errorf("%s has changed", k)
		}
		if id := strings.TrimPrefix(key, "rq:job:"); hash && staging.status(id) != v.status(id) {
			t.Errorf("job %s is %q, want %q", id, staging.status(id), v.status(id))
		}
	}
	// RQ reads such jobs, and a worker fails them without running anything.
	out := staging.rq(`
c.delete('rq:suspended')
print(Job.fetch('fin-ever', connection=c).return_value(), Job.fetch('o1', connection=c).description)
work('default')
print(Job.fetch('o1', connection=c).get_status(refresh=True))
`)
	if out != "None masked by rqvault\nfailed\n" || len(staging.ran()) > 0 {
		t.Errorf("RQ says %q, and ran %q", out, staging.ran())
	}
}

// telling lists the keys, but for sessions, in which a payload's words can be found.
func telling(t testing.TB, s *redistest.Server, im image) []string {
	t.Helper()
	var told []string
	for k, e := range im {
		_, key, _ := strings.Cut(k, "/")
		if strings.HasPrefix(key, "session:") {
			continue
		}
		text := []byte(e.payload)
		for _, x := range contents(t, s, key, e.kind) {
			text = append(text, unpack([]byte(x))...)
			if raw, err := base64.StdEncoding.DecodeString(x); err == nil {
				text = append(text, unpack(raw)...)
			}
		}
		if slices.ContainsFunc([]string{marker, "payload-marker", "tasks.", "ValueError"}, func(word string) bool { return strings.Contains(string(text), word) }) {
			told = append(told, key)
		}
	}
	slices.Sort(told)
	return told
}

// contents lists all that a hash, string or stream holds.
func contents(t testing.TB, s *redistest.Server, key, kind string) []string {
	t.Helper()
	var out []string
	switch kind {
	case "hash":
		for f, x := range s.Client().HGetAll(context.Background(), key).Val() {
			out = append(out, f, x)
		}
	case "string":
		out = append(out, s.Client().Get(context.Background(), key).Val())
	case "stream":
		for _, m := range s.Client().XRange(context.Background(), key, "-", "+").Val() {
			for f, x := range m.Values {
				out = append(out, f, fmt.Sprint(x))
			}
		}
	}
	return out
}
