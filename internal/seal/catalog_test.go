package seal_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"rqvault/internal/lineage"
	"rqvault/internal/seal"
	"rqvault/internal/seekable"
	"rqvault/internal/snapshot"
)

// counting is a store that counts the bytes and requests of reading objects.
type counting struct {
	snapshot.Store
	bytes, requests atomic.Int64
}

func (c *counting) Open(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	r, err := c.Store.Open(ctx, key, offset, length)
	if err != nil {
		return nil, err
	}
	c.requests.Add(1)
	return &counted{r, c}, nil
}

type counted struct {
	io.ReadCloser
	c *counting
}

func (r *counted) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	r.c.bytes.Add(int64(n))
	return n, err
}

const frame = 1 << 20

// commit stores a snapshot with a dump of so many frames that do not compress.
func commit(t testing.TB, c *snapshot.Catalog, frames int) (*snapshot.Manifest, []byte) {
	t.Helper()
	m, raw, err := tryCommit(t, c, frames)
	if err != nil {
		t.Fatal(err)
	}
	return m, raw
}

func tryCommit(t testing.TB, c *snapshot.Catalog, frames int) (*snapshot.Manifest, []byte, error) {
	t.Helper()
	d, err := c.Begin(t.Context(), now, rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	defer d.Abort()
	raw := content(t, frames*frame)
	m := &snapshot.Manifest{CreatedAt: now, FinishedAt: now.Add(time.Second), ToolVersion: "test", Via: "sync",
		Dump:       snapshot.Dump{Format: "Redis RDB 10", Checksum: "verified", Size: int64(len(raw)), Keys: 2, Aux: map[string]string{"repl-id": "x", "lua": "aux-marker"}},
		Counts:     snapshot.Counts{Keys: 2, Jobs: 1, Rows: 1, Queues: map[string]map[string]int64{"queue-marker": {"queued": 1}}},
		Registered: map[string][]string{"0": {"queue-marker"}}, Lineage: snapshot.Lineage{Before: lineage.Facts{RunID: "run"}}}
	for _, name := range []string{snapshot.DumpName, snapshot.JobsName, snapshot.KeysName} {
		entry, err := put(t, d, name, map[string][]byte{snapshot.DumpName: packed(t, raw), snapshot.JobsName: []byte("jobs-marker")}[name])
		if err != nil {
			return nil, nil, err
		}
		m.Objects = append(m.Objects, entry)
	}
	return m, raw, d.Commit(t.Context(), m)
}

func put(t testing.TB, d *snapshot.Draft, name string, b []byte) (snapshot.Stored, error) {
	t.Helper()
	w, err := d.Create(t.Context(), name)
	if err != nil {
		return snapshot.Stored{}, err
	}
	defer w.Abort()
	if _, err := w.Write(b); err != nil {
		return snapshot.Stored{}, err
	}
	return w.Commit(t.Context())
}

func packed(t testing.TB, raw []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := seekable.NewWriter(&out, seekable.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for len(raw) > 0 {
		if err := w.WriteFrame(raw[:frame], nil); err != nil {
			t.Fatal(err)
		}
		raw = raw[frame:]
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func catalog(t testing.TB, s snapshot.Store, k snapshot.Keys) *snapshot.Catalog {
	t.Helper()
	c, err := snapshot.NewCatalog(s, "default")
	if err != nil {
		t.Fatal(err)
	}
	return c.WithKeys(k)
}

// One value of a large encrypted dump costs its frame and little more.
func TestOneValueIsReadByItself(t *testing.T) {
	ada := newPerson(t)
	s := &counting{Store: founded(t, ada)}
	saved, raw := commit(t, catalog(t, s, seal.NewKeyring(s, seal.Options{})), 48)
	c := catalog(t, s, ring(s, ada))
	m, err := c.Manifest(t.Context(), saved.ID)
	if err != nil {
		t.Fatal(err)
	}
	s.bytes.Store(0)
	s.requests.Store(0)
	v, err := c.Values(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	at := int64(20*frame + 777)
	got, err := v.Read(t.Context(), at, 5000)
	if err != nil || !bytes.Equal(got, raw[at:at+5000]) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	// A frame, the chunks that it shares with its neighbours, and the object's two ends.
	if n, limit := s.bytes.Load(), int64(frame+5*chunk); n > limit {
		t.Errorf("5000 bytes cost %d, want at most %d", n, limit)
	}
	if n := s.requests.Load(); n > 4 {
		t.Errorf("%d requests", n)
	}
	t.Logf("5000 bytes of a dump of %d took %d bytes in %d requests", len(raw), s.bytes.Load(), s.requests.Load())
}

// Without the identity the manifest tells sizes, times and lineage, and no names.
func TestWhatAManifestTellsWithoutAnIdentity(t *testing.T) {
	ada, eve := newPerson(t), newPerson(t)
	s := founded(t, ada)
	saved, _ := commit(t, catalog(t, s, seal.NewKeyring(s, seal.Options{})), 1)
	for who, k := range map[string]struct {
		keys snapshot.Keys
		want error
	}{"nobody": {nil, snapshot.ErrNoIdentity}, "no identity": {seal.NewKeyring(s, seal.Options{}), snapshot.ErrNoIdentity}, "eve": {ring(s, eve), snapshot.ErrWrongKey}, "ada": {ring(s, ada), nil}} {
		c := catalog(t, s, k.keys)
		m, err := c.Manifest(t.Context(), saved.ID)
		if err != nil {
			t.Fatal(err)
		}
		if !errors.Is(m.Locked(), k.want) || (m.Locked() == nil) != (k.want == nil) {
			t.Errorf("%s: locked: %v", who, m.Locked())
		}
		if m.Counts.Keys != 2 || m.Lineage.Before.RunID != "run" || m.Dump.Aux["repl-id"] != "x" || m.StoredSize() == 0 || m.Encryption.Epoch != 1 {
			t.Errorf("%s reads %+v", who, m)
		}
		if (k.want == nil) != (len(m.Registered["0"]) == 1 && m.Counts.Queues["queue-marker"] != nil && m.Dump.Aux["lua"] != "") {
			t.Errorf("%s reads the details: %+v", who, m)
		}
		for _, name := range []string{snapshot.DumpName, snapshot.JobsName, snapshot.KeysName} {
			r, err := c.Open(t.Context(), m, name)
			if err == nil {
				_, err = io.Copy(io.Discard, r)
				err = errors.Join(err, r.Close())
			}
			if !errors.Is(err, k.want) || (err == nil) != (k.want == nil) {
				t.Errorf("%s opens %s: %v", who, name, err)
			}
		}
	}
	for o, err := range s.List(t.Context(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		r, err := s.Open(t.Context(), o.Key, 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err = errors.Join(err, r.Close()); err != nil || strings.Contains(string(b)+o.Key, "-marker") {
			t.Errorf("%s names what it should not, %v", o.Key, err)
		}
	}
}

// A catalog that knows no keys stores nothing into a store that has them.
func TestNothingIsStoredUnencryptedBesideKeys(t *testing.T) {
	s := founded(t, newPerson(t))
	c := catalog(t, s, nil)
	if _, err := c.Begin(t.Context(), now, rand.Reader); !errors.Is(err, snapshot.ErrPlain) {
		t.Errorf("begun: %v", err)
	}
}

// An object, or the details, of another snapshot for the same key is found.
func TestPiecesOfAnotherSnapshotAreFound(t *testing.T) {
	ada := newPerson(t)
	s := founded(t, ada)
	writer := catalog(t, s, seal.NewKeyring(s, seal.Options{}))
	a, _ := commit(t, writer, 1)
	b, _ := commit(t, writer, 1)
	c := catalog(t, &swapped{s, a.ID, b.ID}, ring(s, ada))
	m, err := c.Manifest(t.Context(), a.ID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Values(t.Context(), m); !errors.Is(err, snapshot.ErrDamaged) {
		t.Errorf("ranges of another's dump: %v", err)
	}
	r, err := c.Open(t.Context(), m, snapshot.DumpName)
	if err == nil {
		_, err = io.Copy(io.Discard, r)
		_ = r.Close()
	}
	if !errors.Is(err, snapshot.ErrDamaged) {
		t.Errorf("another's dump: %v", err)
	}
}

// swapped gives one snapshot's dump for another's.
type swapped struct {
	snapshot.Store
	a, b snapshot.ID
}

func (s *swapped) Open(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	if strings.Contains(key, "dump.rdb") {
		key = strings.Replace(key, string(s.a), string(s.b), 1)
	}
	return s.Store.Open(ctx, key, offset, length)
}

// What is kept beside a snapshot after an outage names jobs, and is encrypted too.
func TestDocumentsBesideAnEncryptedSnapshot(t *testing.T) {
	ada := newPerson(t)
	s := founded(t, ada)
	c := catalog(t, s, ring(s, ada))
	m, _ := commit(t, c, 1)
	if err := c.StoreIncident(t.Context(), m.ID, "plan.json", strings.NewReader("job-marker")); err != nil {
		t.Fatal(err)
	}
	if err := c.StoreIncident(t.Context(), m.ID, "plan.json", strings.NewReader("another")); !errors.Is(err, snapshot.ErrExists) {
		t.Errorf("stored again: %v", err)
	}
	found, err := c.Incidents(t.Context(), m.ID)
	if err != nil || len(found) != 1 || found[0].Name != "plan.json.1.age" {
		t.Fatalf("listed are %+v, %v", found, err)
	}
	if b, err := readAll(c.OpenIncident(t.Context(), m.ID, found[0].Name)); err != nil || b != "job-marker" {
		t.Errorf("read back: %q, %v", b, err)
	}
	if _, err := catalog(t, s, nil).OpenIncident(t.Context(), m.ID, found[0].Name); !errors.Is(err, snapshot.ErrNoIdentity) {
		t.Errorf("without an identity: %v", err)
	}
	if err := catalog(t, s, nil).StoreIncident(t.Context(), m.ID, "diff.json", strings.NewReader("x")); !errors.Is(err, snapshot.ErrPlain) {
		t.Errorf("stored without the keys: %v", err)
	}
	r, err := s.Open(t.Context(), "default/incidents/"+string(m.ID)+"/plan.json.1.age", 0, -1)
	if b, err := readAll(r, err); err != nil || strings.Contains(b, "marker") {
		t.Errorf("stored is %q, %v", b, err)
	}
}

func readAll(r io.ReadCloser, err error) (string, error) {
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(r)
	return string(b), errors.Join(err, r.Close())
}
