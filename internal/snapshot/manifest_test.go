package snapshot_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os/exec"
	"reflect"
	"strings"
	"testing"
	"time"

	"rqvault/internal/snapshot"
)

// whole is a valid manifest with all its objects.
func whole() *snapshot.Manifest {
	m := manifest()
	m.Format, m.ID, m.Source, m.Nonce = 1, "20261123T061500.123Z-4f2a9c01", "default", strings.Repeat("ab", 16)
	for i, name := range []string{snapshot.DumpName, snapshot.JobsName, snapshot.KeysName} {
		m.Objects = append(m.Objects, snapshot.Stored{Name: name, Size: int64(100 + i), SHA256: snapshot.SHA256([]byte(name))})
	}
	return m
}

func seal(t testing.TB, v any) []byte {
	t.Helper()
	b, err := snapshot.Seal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestManifestRoundTrip(t *testing.T) {
	want := whole()
	b := seal(t, want)
	got, err := snapshot.ParseManifest(b)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
	if got.StoredSize() != 303 {
		t.Errorf("stored size: got %d, want 303", got.StoredSize())
	}
	if !json.Valid(b) || !bytes.HasPrefix(b, []byte("{\n  \"digest\": \"sha256:")) {
		t.Errorf("a sealed document is not JSON with its digest first: %.60s", b)
	}
	if o, err := got.Object(snapshot.JobsName); err != nil || o.Size != 101 {
		t.Errorf("got %+v, %v", o, err)
	}
	if _, err := got.Object("other"); !errors.Is(err, snapshot.ErrDamaged) {
		t.Errorf("an object it does not name: got %v, want ErrDamaged", err)
	}
}

// Anybody can check a manifest's digest, as docs/formats.md says.
func TestDigestIsOfTheBytesAfterIt(t *testing.T) {
	b := seal(t, whole())
	at := bytes.IndexByte(b, ',') + 1
	cmd := exec.Command("sha256sum")
	cmd.Stdin = bytes.NewReader(b[at:])
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if want := "sha256:" + string(out[:64]); !bytes.Contains(b[:at], []byte(want)) {
		t.Errorf("got %.100s, want %s", b, want)
	}
}

func TestEveryBitFlipOfAManifest(t *testing.T) {
	b := seal(t, whole())
	for i := range b {
		for bit := range 8 {
			b[i] ^= 1 << bit
			if _, err := snapshot.ParseManifest(b); !errors.Is(err, snapshot.ErrDamaged) {
				t.Errorf("bit %d of byte %d (%q): got %v, want ErrDamaged", bit, i, b[i], err)
			}
			b[i] ^= 1 << bit
		}
	}
}

func TestEveryCutOfAManifest(t *testing.T) {
	b := seal(t, whole())
	for n := range b {
		for _, part := range [][]byte{b[:n], b[n+1:]} {
			if _, err := snapshot.ParseManifest(part); !errors.Is(err, snapshot.ErrDamaged) {
				t.Errorf("cut at %d: got %v, want ErrDamaged", n, err)
			}
		}
	}
	for _, more := range []string{" ", "\n", "}", "{}", "\x00"} {
		if _, err := snapshot.ParseManifest(append(bytes.Clone(b), more...)); !errors.Is(err, snapshot.ErrDamaged) {
			t.Errorf("%q after the end: got %v, want ErrDamaged", more, err)
		}
	}
}

func TestVersionsOfAManifest(t *testing.T) {
	// A later version may add members: they count for the digest and are passed over.
	type later struct {
		*snapshot.Manifest
		Future map[string]int `json:"zz_future"`
	}
	if got, err := snapshot.ParseManifest(seal(t, later{whole(), map[string]int{"x": 1}})); err != nil || got.ID != whole().ID {
		t.Errorf("a member of a later version: got %v", err)
	}
	for format, want := range map[int]error{0: snapshot.ErrDamaged, -1: snapshot.ErrDamaged, 2: snapshot.ErrDamaged, 3: snapshot.ErrTooNew, math.MaxInt32: snapshot.ErrTooNew} {
		m := whole()
		m.Format = format
		if _, err := snapshot.ParseManifest(seal(t, m)); !errors.Is(err, want) {
			t.Errorf("format %d: got %v, want %v", format, err, want)
		}
	}
	// Too new is said before anything else, since the rest may mean other things then.
	if _, err := snapshot.ParseManifest(seal(t, map[string]any{"format": 9, "objects": "elsewhere"})); !errors.Is(err, snapshot.ErrTooNew) {
		t.Errorf("a later format with other members: got %v, want ErrTooNew", err)
	}
}

func TestSealOnlyObjects(t *testing.T) {
	for _, v := range []any{nil, 1, "x", []int{1}, struct{}{}, map[string]int{}, make(chan int)} {
		if b, err := snapshot.Seal(v); err == nil {
			t.Errorf("%T: got %q, want an error", v, b)
		}
	}
	var out map[string]any
	if err := snapshot.Unseal(seal(t, map[string]int{"a": 1}), &out); err != nil || fmt.Sprint(out) != "map[a:1]" {
		t.Errorf("got %v, %v", out, err)
	}
	if err := snapshot.Unseal(seal(t, map[string]string{"format": "x"}), new(snapshot.Manifest)); !errors.Is(err, snapshot.ErrDamaged) {
		t.Errorf("a member of another type: got %v, want ErrDamaged", err)
	}
}

func TestValidate(t *testing.T) {
	if err := whole().Validate(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*snapshot.Manifest){
		"no id":                   func(m *snapshot.Manifest) { m.ID = "" },
		"a path as id":            func(m *snapshot.Manifest) { m.ID = "../x" },
		"no source":               func(m *snapshot.Manifest) { m.Source = "" },
		"a path as source":        func(m *snapshot.Manifest) { m.Source = "a/../b" },
		"a short nonce":           func(m *snapshot.Manifest) { m.Nonce = "abc" },
		"no time of the dump":     func(m *snapshot.Manifest) { m.CreatedAt = time.Time{} },
		"no time of the end":      func(m *snapshot.Manifest) { m.FinishedAt = time.Time{} },
		"an empty dump":           func(m *snapshot.Manifest) { m.Dump.Size = 0 },
		"a negative dump":         func(m *snapshot.Manifest) { m.Dump.Size = -1 },
		"negative keys":           func(m *snapshot.Manifest) { m.Dump.Keys, m.Counts.Keys = -1, -1 },
		"unchecked dump":          func(m *snapshot.Manifest) { m.Dump.Checksum = "" },
		"another checksum":        func(m *snapshot.Manifest) { m.Dump.Checksum = "failed" },
		"key counts that differ":  func(m *snapshot.Manifest) { m.Counts.Keys++ },
		"more jobs than rows":     func(m *snapshot.Manifest) { m.Counts.Jobs = 2 },
		"negative jobs":           func(m *snapshot.Manifest) { m.Counts.Jobs = -1 },
		"no objects":              func(m *snapshot.Manifest) { m.Objects = nil },
		"one object missing":      func(m *snapshot.Manifest) { m.Objects = m.Objects[1:] },
		"one object twice":        func(m *snapshot.Manifest) { m.Objects[1] = m.Objects[0] },
		"one object too many":     func(m *snapshot.Manifest) { m.Objects = append(m.Objects, m.Objects[0]) },
		"another object":          func(m *snapshot.Manifest) { m.Objects[0].Name = "dump.rdb" },
		"a path as object":        func(m *snapshot.Manifest) { m.Objects[0].Name = "../dump.rdb.zst" },
		"an object of size below": func(m *snapshot.Manifest) { m.Objects[0].Size = -1 },
		"a short digest":          func(m *snapshot.Manifest) { m.Objects[0].SHA256 = "ab" },
		"no digest":               func(m *snapshot.Manifest) { m.Objects[0].SHA256 = "" },
		"a digest of no hex":      func(m *snapshot.Manifest) { m.Objects[0].SHA256 = strings.Repeat("xy", 32) },
	} {
		m := whole()
		change(m)
		if err := m.Validate(); !errors.Is(err, snapshot.ErrDamaged) {
			t.Errorf("%s: got %v, want ErrDamaged", name, err)
		}
		if _, err := snapshot.ParseManifest(seal(t, m)); !errors.Is(err, snapshot.ErrDamaged) {
			t.Errorf("%s, sealed: got %v, want ErrDamaged", name, err)
		}
	}
}

func FuzzParseManifest(f *testing.F) {
	f.Add(seal(f, whole()))
	f.Add(seal(f, map[string]int{"format": 2}))
	f.Add([]byte("{\n  \"digest\": \"sha256:"))
	f.Add([]byte(`{"format":1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, doc := range [][]byte{b, resealed(b)} {
			m, err := snapshot.ParseManifest(doc)
			if err != nil {
				if !errors.Is(err, snapshot.ErrDamaged) && !errors.Is(err, snapshot.ErrTooNew) {
					t.Errorf("got %v, want ErrDamaged or ErrTooNew", err)
				}
				continue
			}
			if err := m.Validate(); err != nil {
				t.Errorf("was read, but is not valid: %v", err)
			}
			if _, err := snapshot.ParseManifest(seal(t, m)); err != nil {
				t.Errorf("written again: %v", err)
			}
		}
	})
}

// resealed puts a right digest before whatever follows, so that fuzzing gets past it.
func resealed(b []byte) []byte {
	if at := bytes.IndexByte(b, ','); at >= 0 {
		b = b[at+1:]
	}
	return []byte("{\n  \"digest\": \"sha256:" + snapshot.SHA256(b) + "\"," + string(b))
}
