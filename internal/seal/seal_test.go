package seal_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"rqvault/internal/seal"
	"rqvault/internal/snapshot"
	"rqvault/internal/store/dir"
)

var now = time.Date(2026, 11, 23, 6, 15, 0, 0, time.UTC)

func newStore(t testing.TB) snapshot.Store {
	t.Helper()
	return openDir(t, filepath.Join(t.TempDir(), "vault"))
}

func openDir(t testing.TB, root string) snapshot.Store {
	t.Helper()
	s, err := dir.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// person is an operator with both halves of a key.
type person struct {
	to   seal.Recipient
	from []seal.Identity
	name string
}

func newPerson(t testing.TB) person {
	t.Helper()
	file, name, err := seal.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return person{to: recipient(t, name), from: identities(t, file, ""), name: name}
}

func recipient(t testing.TB, text string) seal.Recipient {
	t.Helper()
	r, err := seal.ParseRecipient(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func identities(t testing.TB, file []byte, passphrase string) []seal.Identity {
	t.Helper()
	ids, err := seal.ParseIdentities(file, passphrase)
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

func ring(s snapshot.Store, p person) *seal.Keyring {
	return seal.NewKeyring(s, seal.Options{Identities: p.from})
}

// founded is a store with keys for one person.
func founded(t testing.TB, p ...person) snapshot.Store {
	t.Helper()
	s := newStore(t)
	var to []seal.Recipient
	for _, p := range p {
		to = append(to, p.to)
	}
	if err := seal.NewKeyring(s, seal.Options{}).Found(t.Context(), to, now); err != nil {
		t.Fatal(err)
	}
	return s
}

// sealed encrypts content for the store's newest epoch.
func sealed(t testing.TB, s snapshot.Store, content []byte) (b []byte, head int64, epoch int) {
	t.Helper()
	sealer, err := seal.NewKeyring(s, seal.Options{}).Sealer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w, err := sealer.Seal(&out)
	if err != nil {
		t.Fatal(err)
	}
	head = int64(out.Len())
	_, err = w.Write(content)
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), head, sealer.Epoch()
}

func opener(t testing.TB, s snapshot.Store, p person, epoch int) snapshot.Opener {
	t.Helper()
	o, err := ring(s, p).Opener(t.Context(), epoch)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func content(t testing.TB, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return b
}

func openAll(o snapshot.Opener, b []byte) ([]byte, error) {
	r, err := o.Open(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

const chunk = 64 << 10

func TestEverySizeComesBack(t *testing.T) {
	p := newPerson(t)
	s := founded(t, p)
	for _, n := range []int{0, 1, 17, chunk - 1, chunk, chunk + 1, 2 * chunk, 3*chunk + 5} {
		want := content(t, n)
		b, head, epoch := sealed(t, s, want)
		o := opener(t, s, p, epoch)
		if got, err := openAll(o, b); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes: the stream gives %d bytes, %v", n, len(got), err)
		}
		r, err := o.Ranges(t.Context(), int64(len(b)), entry(b, head, n), fetch(b, nil))
		if err != nil {
			t.Fatalf("%d bytes: %v", n, err)
		}
		if got, err := r.Read(t.Context(), snapshot.Range{Length: int64(n)}); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes: the range gives %d bytes, %v", n, len(got), err)
		}
	}
}

func entry(b []byte, head int64, plain int) snapshot.Encrypted {
	return snapshot.Encrypted{Plain: int64(plain), Head: head, HeadSHA256: snapshot.SHA256(b[:head])}
}

// fetch reads from b and notes each range.
func fetch(b []byte, seen *[]snapshot.Range) snapshot.Fetch {
	return func(_ context.Context, r snapshot.Range) ([]byte, error) {
		if seen != nil {
			*seen = append(*seen, r)
		}
		if r.Offset+r.Length > int64(len(b)) {
			return nil, fmt.Errorf("%w: short", snapshot.ErrDamaged)
		}
		return slices.Clone(b[r.Offset : r.Offset+r.Length]), nil
	}
}

// Each range costs one fetch at most, of no more than the chunks it lies in.
func TestARangeIsOneFetch(t *testing.T) {
	p := newPerson(t)
	s := founded(t, p)
	want := content(t, 20*chunk+99)
	b, head, epoch := sealed(t, s, want)
	var seen []snapshot.Range
	r, err := opener(t, s, p, epoch).Ranges(t.Context(), int64(len(b)), entry(b, head, len(want)), fetch(b, &seen))
	if err != nil {
		t.Fatal(err)
	}
	if len(seen) != 2 || seen[0].Length != head || seen[1].Length > 2*(chunk+16) {
		t.Errorf("to open took %v", seen)
	}
	for offset := 0; offset < len(want); offset += 30011 {
		for _, n := range []int{1, 9, chunk, 5*chunk + 3, len(want)} {
			n = min(n, len(want)-offset)
			seen = nil
			got, err := r.Read(t.Context(), snapshot.Range{Offset: int64(offset), Length: int64(n)})
			if err != nil || !bytes.Equal(got, want[offset:offset+n]) {
				t.Fatalf("%d+%d: %d bytes, %v", offset, n, len(got), err)
			}
			if len(seen) > 1 || len(seen) == 1 && seen[0].Length > int64(n/chunk+2)*(chunk+16) {
				t.Errorf("%d+%d was fetched by %v", offset, n, seen)
			}
		}
	}
}

// Without any digest around it: every flipped bit and every cut is found, by the stream and
// by ranges that touch it.
func TestEveryFlippedBitAndEveryCutIsFound(t *testing.T) {
	p := newPerson(t)
	s := founded(t, p)
	want := content(t, chunk+300)
	b, head, epoch := sealed(t, s, want)
	o := opener(t, s, p, epoch)
	for i := range b {
		if i > 600 && i < len(b)-700 && i%97 != 0 { // the middle of a chunk is one kind of place
			continue
		}
		bad := slices.Clone(b)
		bad[i] ^= 1 << (i % 8)
		if _, err := openAll(o, bad); !errors.Is(err, snapshot.ErrDamaged) {
			t.Errorf("bit flipped in byte %d of %d: %v", i, len(b), err)
		}
		if _, err := readRanges(t, o, bad, entry(b, head, len(want)), len(want)); !errors.Is(err, snapshot.ErrDamaged) {
			t.Errorf("bit flipped in byte %d of %d, by ranges: %v", i, len(b), err)
		}
	}
	for n := 0; n < len(b); n++ {
		if n > 400 && n < len(b)-500 && n%101 != 0 && (n-int(head))%(chunk+16) != 0 {
			continue
		}
		if _, err := openAll(o, b[:n]); !errors.Is(err, snapshot.ErrDamaged) {
			t.Errorf("cut after byte %d of %d: %v", n, len(b), err)
		}
		if _, err := readRanges(t, o, b[:n], entry(b, head, len(want)), len(want)); !errors.Is(err, snapshot.ErrDamaged) {
			t.Errorf("cut after byte %d of %d, by ranges: %v", n, len(b), err)
		}
	}
	if _, err := openAll(o, append(slices.Clone(b), 0)); !errors.Is(err, snapshot.ErrDamaged) {
		t.Errorf("a byte more: %v", err)
	}
}

func readRanges(t testing.TB, o snapshot.Opener, b []byte, e snapshot.Encrypted, n int) ([]byte, error) {
	r, err := o.Ranges(t.Context(), int64(len(b)), e, fetch(b, nil))
	if err != nil {
		return nil, err
	}
	return r.Read(t.Context(), snapshot.Range{Length: int64(n)})
}

// An object that somebody else encrypted for the same public key does not pass for ours
// where a part of it is read.
func TestAnotherObjectForTheSameKeyIsNoneOfOurs(t *testing.T) {
	p := newPerson(t)
	s := founded(t, p)
	want := content(t, 3*chunk)
	b, head, epoch := sealed(t, s, want)
	other, _, _ := sealed(t, s, content(t, 3*chunk))
	o := opener(t, s, p, epoch)
	if len(other) != len(b) {
		t.Fatalf("%d and %d bytes", len(other), len(b))
	}
	if _, err := readRanges(t, o, other, entry(b, head, len(want)), len(want)); !errors.Is(err, snapshot.ErrDamaged) {
		t.Errorf("another object: %v", err)
	}
	// Its own head does not help either: the rest is encrypted for that head.
	mixed := append(slices.Clone(b[:head]), other[head:]...)
	if _, err := readRanges(t, o, mixed, entry(b, head, len(want)), len(want)); !errors.Is(err, snapshot.ErrDamaged) {
		t.Errorf("another object under our head: %v", err)
	}
	foreign := founded(t, p)
	x, _, _ := sealed(t, foreign, want)
	if _, err := openAll(o, x); !errors.Is(err, snapshot.ErrDamaged) || errors.Is(err, snapshot.ErrWrongKey) {
		t.Errorf("an object of another store: %v", err)
	}
}
