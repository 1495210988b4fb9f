package seal_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"io"
	"testing"

	"rqvault/internal/seal"
	"rqvault/internal/snapshot"
	"rqvault/internal/store/storetest"
)

// Whatever fails while the keys change, and if the process dies there: what was encrypted
// before still opens, and the same command run again comes to its end.
func TestAStoreThatFailsWhileTheKeysChange(t *testing.T) {
	for name, start := range map[string]func(snapshot.Store, int) *storetest.Faulty{"fails once": storetest.NewFaulty, "is gone from then on": storetest.NewCrashing} {
		ada, ben := newPerson(t), newPerson(t)
		flows := map[string]func(k *seal.Keyring) error{
			"add":    func(k *seal.Keyring) error { return k.Add(t.Context(), []seal.Recipient{ben.to}, now) },
			"rotate": func(k *seal.Keyring) error { return k.Rotate(t.Context(), "", now) },
			"remove": func(k *seal.Keyring) error {
				err := k.Remove(t.Context(), []string{ben.name}, now)
				if errors.Is(err, seal.ErrRecipient) { // done by the run before
					err = nil
				}
				return err
			},
		}
		for flow, change := range flows {
			faults := 0
			for at := 0; ; at++ {
				s := founded(t, ada)
				if flow == "remove" {
					if err := flows["add"](ring(s, ada)); err != nil {
						t.Fatal(err)
					}
				}
				b, _, epoch := sealed(t, s, []byte("content"))
				f := start(s, at)
				err := change(ring(f, ada))
				if !f.Failed() {
					if err != nil {
						t.Fatalf("%s, %s: without a fault: %v", flow, name, err)
					}
					break
				}
				faults++
				if !errors.Is(err, storetest.ErrInjected) {
					t.Errorf("%s, %s at %d: %v", flow, name, at, err)
				}
				if got, err := openAll(opener(t, s, ada, epoch), b); err != nil || string(got) != "content" {
					t.Errorf("%s, %s at %d: what was there gives %q, %v", flow, name, at, got, err)
				}
				if err := change(ring(s, ada)); err != nil {
					t.Errorf("%s, %s at %d: run again: %v", flow, name, at, err)
				}
				if flow == "remove" {
					for _, key := range keys(t, s) {
						if key != "keys/0001/0003.json" {
							t.Errorf("%s, %s at %d: %s is left", flow, name, at, key)
						}
					}
				}
			}
			if faults < 4 {
				t.Errorf("%s, %s: only %d operations were made to fail", flow, name, faults)
			}
		}
	}
}

// Of a signed and encrypted snapshot there is all or nothing.
func TestAStoreThatFailsUnderASignedSnapshot(t *testing.T) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ada := newPerson(t)
	faults := 0
	for at := 0; ; at++ {
		s := founded(t, ada)
		f := storetest.NewFaulty(s, at)
		m, raw, commitErr := tryCommit(t, catalog(t, f, seal.NewKeyring(f, seal.Options{})).WithSigner(private), 1)
		reader := catalog(t, s, ring(s, ada)).WithTrust([]ed25519.PublicKey{public})
		ids, err := reader.IDs(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if commitErr != nil {
			faults++
			if len(ids) > 0 || !errors.Is(commitErr, storetest.ErrInjected) {
				t.Errorf("fault %d: %v, and listed are %v", at, commitErr, ids)
			}
			continue
		}
		if len(ids) != 1 {
			t.Fatalf("fault %d: listed are %v", at, ids)
		}
		got, err := reader.Manifest(t.Context(), m.ID)
		if err != nil {
			t.Fatal(err)
		}
		r, _, err := reader.OpenDump(t.Context(), got)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(r); err != nil || !bytes.Equal(b, raw) {
			t.Errorf("fault %d: %d bytes, %v", at, len(b), err)
		}
		if !f.Failed() {
			break
		}
	}
	if faults < 10 {
		t.Errorf("only %d operations were made to fail", faults)
	}
}
