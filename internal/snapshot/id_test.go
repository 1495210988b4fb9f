package snapshot_test

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"rqvault/internal/snapshot"
)

func TestIDsSortByAge(t *testing.T) {
	var all []string
	at := time.Date(1999, 12, 31, 23, 59, 59, 998_000_000, time.UTC)
	for i, step := range []time.Duration{0, time.Millisecond, time.Millisecond, time.Second, time.Hour, 24 * time.Hour, 366 * 24 * time.Hour, 27 * 365 * 24 * time.Hour} {
		at = at.Add(step)
		id, err := snapshot.NewID(at.In(time.FixedZone("x", 3600*i)), &dice{byte(255 - i)})
		if err != nil {
			t.Fatal(err)
		}
		if !id.Time().Equal(at) {
			t.Errorf("%s: got time %s, want %s", id, id.Time(), at)
		}
		if again, err := snapshot.ParseID(string(id)); err != nil || again != id {
			t.Errorf("ParseID(%s): got %s, %v", id, again, err)
		}
		all = append(all, string(id))
	}
	if !slices.IsSorted(all) {
		t.Errorf("ids do not sort by age: %v", all)
	}
	if _, err := snapshot.NewID(at, strings.NewReader("abc")); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("too few random bytes: got %v, want an error", err)
	}
}

func TestBadIDs(t *testing.T) {
	good := "20261123T061500.123Z-4f2a9c01"
	if _, err := snapshot.ParseID(good); err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"", "latest", good[1:], good[:len(good)-1], good + "0", " " + good, good + "\n", good + "/x", "../" + good,
		strings.ToUpper(good), strings.ReplaceAll(good, "Z", "z"), strings.ReplaceAll(good, ".", ","), strings.ReplaceAll(good, "-", "_"),
		"20261323T061500.123Z-4f2a9c01", "20260230T061500.123Z-4f2a9c01", "20261123T241500.123Z-4f2a9c01", "20261123T066000.123Z-4f2a9c01",
		"20261123T061560.123Z-4f2a9c01", "20261123T061500.123Z-4f2a9c0g", "２0261123T061500.123Z-4f2a9c01", good[:20] + "\x00" + good[21:]} {
		if id, err := snapshot.ParseID(s); !errors.Is(err, snapshot.ErrBadID) || id != "" {
			t.Errorf("ParseID(%q): got %q, %v, want ErrBadID", s, id, err)
		}
	}
	for _, id := range []snapshot.ID{"", "x", "20261123"} {
		if !id.Time().IsZero() {
			t.Errorf("time of %q: got %s, want none", id, id.Time())
		}
	}
}

func FuzzParseID(f *testing.F) {
	f.Add("20261123T061500.123Z-4f2a9c01")
	f.Add("20261123T061500,123Z-4f2a9c01")
	f.Add("00000101T000000.000Z-00000000")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := snapshot.ParseID(s)
		if err != nil {
			return
		}
		if string(id) != s {
			t.Errorf("%q was read as %q", s, id)
		}
		if got := id.Time().Format("20060102T150405.000Z"); got != s[:len(got)] {
			t.Errorf("%q stands for %s", s, got)
		}
	})
}

func TestSourceNames(t *testing.T) {
	for _, good := range []string{"default", "a", "0", "prod-eu.1", "a_b", "rqvault", strings.Repeat("a", 63)} {
		if err := snapshot.ValidSource(good); err != nil {
			t.Errorf("%q: got %v", good, err)
		}
	}
	for _, bad := range []string{"", ".", "..", ".a", "a.", "-a", "_a", "A", "a/b", "a b", "ü", "a\n", "rqvault.json", "leases", strings.Repeat("a", 64), "a\x00", "../a"} {
		if err := snapshot.ValidSource(bad); err == nil {
			t.Errorf("%q: got no error", bad)
		}
		if _, err := snapshot.NewCatalog(nil, bad); err == nil {
			t.Errorf("catalog of %q: got no error", bad)
		}
	}
}
