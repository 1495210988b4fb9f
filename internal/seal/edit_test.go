package seal_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"rqvault/internal/seal"
	"rqvault/internal/snapshot"
)

func opens(t testing.TB, s snapshot.Store, from []seal.Identity, epoch int) error {
	t.Helper()
	_, err := seal.NewKeyring(s, seal.Options{Identities: from}).Opener(t.Context(), epoch)
	return err
}

// wantOpens fails the test unless each epoch from 1 on opens with that error.
func wantOpens(t testing.TB, what string, s snapshot.Store, from []seal.Identity, want ...error) {
	t.Helper()
	for i, w := range want {
		if err := opens(t, s, from, i+1); !errors.Is(err, w) {
			t.Errorf("%s, epoch %d: %v, want %v", what, i+1, err, w)
		}
	}
}

func keys(t testing.TB, s snapshot.Store) []string {
	t.Helper()
	var all []string
	for o, err := range s.List(t.Context(), snapshot.KeysPrefix, "") {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, o.Key)
	}
	return all
}

func TestOperatorsComeAndGo(t *testing.T) {
	ada, ben, eve := newPerson(t), newPerson(t), newPerson(t)
	s := founded(t, ada)
	wantOpens(t, "ada", s, ada.from, nil)
	wantOpens(t, "nobody", s, nil, snapshot.ErrNoIdentity)
	wantOpens(t, "ben, before", s, ben.from, snapshot.ErrWrongKey)
	if err := ring(s, ben).Add(t.Context(), []seal.Recipient{ben.to}, now); !errors.Is(err, snapshot.ErrWrongKey) {
		t.Errorf("ben let himself in: %v", err)
	}
	if err := ring(s, ada).Rotate(t.Context(), "", now); err != nil {
		t.Fatal(err)
	}
	if err := ring(s, ada).Add(t.Context(), []seal.Recipient{ben.to, ben.to}, now); err != nil {
		t.Fatal(err)
	}
	wantOpens(t, "ben, added", s, ben.from, nil, nil)
	wantOpens(t, "eve", s, eve.from, snapshot.ErrWrongKey, snapshot.ErrWrongKey)
	if err := ring(s, ben).Remove(t.Context(), []string{ada.name}, now); err != nil {
		t.Fatal(err)
	}
	wantOpens(t, "ada, removed", s, ada.from, snapshot.ErrWrongKey, snapshot.ErrWrongKey)
	wantOpens(t, "ben, alone", s, ben.from, nil, nil)
	if got, want := keys(t, s), []string{"keys/0001/0003.json", "keys/0002/0003.json"}; !slices.Equal(got, want) {
		t.Errorf("left are %q, want %q", got, want)
	}
	for word, want := range map[string]error{ben.name: seal.ErrLast, eve.name: seal.ErrRecipient} {
		if err := ring(s, ben).Remove(t.Context(), []string{word}, now); !errors.Is(err, want) {
			t.Errorf("remove the last, or a stranger: %v", err)
		}
	}
	if err := ring(s, ben).Rotate(t.Context(), "", now); err != nil {
		t.Fatal(err)
	}
	wantOpens(t, "ben, rotated", s, ben.from, nil, nil, nil)
	if _, _, epoch := sealed(t, s, nil); epoch != 3 {
		t.Errorf("new snapshots use epoch %d", epoch)
	}
	if err := ring(s, ben).Found(t.Context(), []seal.Recipient{ben.to}, now); !errors.Is(err, seal.ErrExists) {
		t.Errorf("found it again: %v", err)
	}
}

func TestAPassphraseOpens(t *testing.T) {
	s := newStore(t)
	to, err := seal.NewPassphrase("correct horse")
	if err != nil {
		t.Fatal(err)
	}
	if err := seal.NewKeyring(s, seal.Options{}).Found(t.Context(), []seal.Recipient{to}, now); err != nil {
		t.Fatal(err)
	}
	say := func(text string) []seal.Identity {
		i, err := seal.PassphraseIdentity(text)
		if err != nil {
			t.Fatal(err)
		}
		return []seal.Identity{i}
	}
	ada := newPerson(t)
	wantOpens(t, "the right one", s, say("correct horse"), nil)
	wantOpens(t, "a wrong one", s, say("battery staple"), snapshot.ErrWrongKey)
	wantOpens(t, "no passphrase", s, ada.from, snapshot.ErrWrongKey)
	right := seal.NewKeyring(s, seal.Options{Identities: say("correct horse")})
	if err := right.Add(t.Context(), []seal.Recipient{ada.to}, now); err != nil {
		t.Fatal(err)
	}
	wantOpens(t, "ada beside it", s, ada.from, nil)
	if err := ring(s, ada).Rotate(t.Context(), "", now); !errors.Is(err, seal.ErrRecipient) {
		t.Errorf("rotate without the passphrase: %v", err)
	}
	if err := ring(s, ada).Rotate(t.Context(), "battery staple", now); !errors.Is(err, snapshot.ErrWrongKey) {
		t.Errorf("rotate with another passphrase: %v", err)
	}
	if err := ring(s, ada).Rotate(t.Context(), "correct horse", now); err != nil {
		t.Fatal(err)
	}
	wantOpens(t, "rotated", s, say("correct horse"), nil, nil)
	if err := ring(s, ada).Remove(t.Context(), []string{seal.Passphrase}, now); err != nil {
		t.Fatal(err)
	}
	wantOpens(t, "removed", s, say("correct horse"), snapshot.ErrWrongKey, snapshot.ErrWrongKey)
}

// sshKey makes a pair as ssh-keygen does.
func sshKey(t testing.TB, kind, passphrase string) (public string, private []byte) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "ada at work", "-f", path).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen (install openssh-client): %v: %s", err, out)
	}
	a, err := os.ReadFile(path + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(a), b
}

func TestKeysOfSSHOpen(t *testing.T) {
	for _, kind := range []string{"ed25519", "rsa"} {
		for _, passphrase := range []string{"", "hunter22"} {
			t.Run(kind+" "+passphrase, func(t *testing.T) {
				public, private := sshKey(t, kind, passphrase)
				other, _ := sshKey(t, "ed25519", "")
				p := person{to: recipient(t, public), from: identities(t, private, passphrase)}
				s := founded(t, p, newPerson(t))
				wantOpens(t, "its owner", s, p.from, nil)
				if passphrase != "" {
					for _, wrong := range []string{"", "hunter2"} {
						if _, err := seal.ParseIdentities(private, wrong); !errors.Is(err, seal.ErrIdentity) {
							t.Errorf("read with passphrase %q: %v", wrong, err)
						}
					}
				}
				if err := ring(s, p).Remove(t.Context(), []string{other}, now); !errors.Is(err, seal.ErrRecipient) {
					t.Errorf("remove another's: %v", err)
				}
				if err := ring(s, p).Remove(t.Context(), []string{"ada at work"}, now); err != nil {
					t.Fatal(err)
				}
				wantOpens(t, "removed by its comment", s, p.from, snapshot.ErrWrongKey)
			})
		}
	}
}

func TestWhatIsNoIdentityIsRefusedWithoutQuotingIt(t *testing.T) {
	for _, text := range []string{"", "AGE-SECRET-KEY-1NOTAKEYATALL", "hunter22", "-----BEGIN PRIVATE KEY-----\nhunter22\n", "age-encryption.org/v1\nhunter22"} {
		_, err := seal.ParseIdentities([]byte(text), "x")
		if !errors.Is(err, seal.ErrIdentity) {
			t.Errorf("%q: %v", text, err)
		} else if strings.Contains(err.Error(), "hunter22") || strings.Contains(err.Error(), "NOTAKEY") {
			t.Errorf("the error quotes it: %v", err)
		}
	}
	secret, _, err := seal.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	secret = bytes.TrimSpace(secret[bytes.Index(secret, []byte("AGE-SECRET")):])
	if _, err := seal.ParseRecipient(string(secret)); !errors.Is(err, seal.ErrRecipient) || strings.Contains(err.Error(), string(secret[:16])) {
		t.Errorf("a secret given as a recipient: %v", err)
	}
}

// Who can write to the store can put himself on the list, but gets no key by it.
func TestAStrangerOnTheListIsGivenNothing(t *testing.T) {
	ada, eve := newPerson(t), newPerson(t)
	s := founded(t, ada)
	var doc map[string]any
	if err := snapshot.ReadDocument(t.Context(), s, "keys/0001/0001.json", &doc); err != nil {
		t.Fatal(err)
	}
	operators, _ := doc["operators"].([]any)
	mine, _ := operators[0].(map[string]any)
	doc["operators"] = append(operators, map[string]any{"recipient": eve.name, "identity": mine["identity"]})
	doc["revision"] = 2
	delete(doc, "digest")
	b, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	var forged struct {
		Format    int             `json:"format"`
		Epoch     int             `json:"epoch"`
		Revision  int             `json:"revision"`
		FoundedAt string          `json:"founded_at"`
		ChangedAt string          `json:"changed_at"`
		Recipient string          `json:"recipient"`
		Operators json.RawMessage `json:"operators"`
		Proof     string          `json:"proof"`
	}
	if err := json.Unmarshal(b, &forged); err != nil {
		t.Fatal(err)
	}
	if err := snapshot.WriteDocument(t.Context(), s, "keys/0001/0002.json", forged); err != nil {
		t.Fatal(err)
	}
	wantOpens(t, "eve", s, eve.from, snapshot.ErrWrongKey)
	wantOpens(t, "ada, whose snapshots stay readable", s, ada.from, nil)
	for what, err := range map[string]error{
		"rotate": ring(s, ada).Rotate(t.Context(), "", now),
		"add":    ring(s, ada).Add(t.Context(), []seal.Recipient{newPerson(t).to}, now),
		"remove": ring(s, ada).Remove(t.Context(), []string{eve.name}, now),
	} {
		if !errors.Is(err, snapshot.ErrForged) {
			t.Errorf("%s: %v", what, err)
		}
	}
	epochs, err := ring(s, ada).Epochs(t.Context())
	if err != nil || len(epochs) != 1 || epochs[0].Proven == nil || *epochs[0].Proven {
		t.Errorf("the list says %+v, %v", epochs, err)
	}
}

// Nor does an epoch that he made himself: a backup that names its recipient refuses it.
func TestABackupThatNamesItsRecipientTakesNoOther(t *testing.T) {
	ada := newPerson(t)
	s := founded(t, ada)
	epochs, err := seal.NewKeyring(s, seal.Options{}).Epochs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	pinned := seal.NewKeyring(s, seal.Options{Recipient: epochs[0].Recipient})
	if _, err := pinned.Sealer(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := ring(s, ada).Rotate(t.Context(), "", now); err != nil {
		t.Fatal(err)
	}
	if _, err := pinned.Sealer(t.Context()); !errors.Is(err, snapshot.ErrPlain) {
		t.Errorf("another epoch: %v", err)
	}
	if _, err := seal.NewKeyring(newStore(t), seal.Options{Recipient: epochs[0].Recipient}).Sealer(t.Context()); !errors.Is(err, snapshot.ErrPlain) {
		t.Errorf("no keys: %v", err)
	}
}

// raced is a store in which somebody else acts just before the first write.
type raced struct {
	snapshot.Store
	before func()
	done   atomic.Bool
}

func (r *raced) Create(ctx context.Context, key string) (snapshot.Writer, error) {
	if r.done.CompareAndSwap(false, true) {
		r.before()
	}
	return r.Store.Create(ctx, key)
}

func TestOfTwoChangesAtOnceOneFails(t *testing.T) {
	ada, ben, cleo := newPerson(t), newPerson(t), newPerson(t)
	s := founded(t, ada)
	slow := &raced{Store: s, before: func() {
		if err := ring(s, ada).Add(t.Context(), []seal.Recipient{ben.to}, now); err != nil {
			t.Error(err)
		}
	}}
	if err := ring(slow, ada).Add(t.Context(), []seal.Recipient{cleo.to}, now); !errors.Is(err, seal.ErrRaced) {
		t.Fatalf("the second: %v", err)
	}
	wantOpens(t, "ben", s, ben.from, nil)
	wantOpens(t, "cleo", s, cleo.from, snapshot.ErrWrongKey)
	if err := ring(s, ada).Add(t.Context(), []seal.Recipient{cleo.to}, now); err != nil {
		t.Fatal(err)
	}
	wantOpens(t, "ben and cleo", s, ben.from, nil)
	wantOpens(t, "cleo", s, cleo.from, nil)
	slow = &raced{Store: s, before: func() {
		if err := ring(s, ada).Rotate(t.Context(), "", now); err != nil {
			t.Error(err)
		}
	}}
	if err := ring(slow, ada).Rotate(t.Context(), "", now); !errors.Is(err, seal.ErrRaced) {
		t.Errorf("the second rotation: %v", err)
	}
}

// What a stored list has lost or gained is found before anybody is trusted by it.
func TestADamagedListIsFound(t *testing.T) {
	ada := newPerson(t)
	root := filepath.Join(t.TempDir(), "vault")
	s := openDir(t, root)
	if err := seal.NewKeyring(s, seal.Options{}).Found(t.Context(), []seal.Recipient{ada.to}, now); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(root, "keys", "0001", "0001.json")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range b {
		bad := slices.Clone(b)
		bad[i] ^= 1 << (i % 8)
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := opens(t, s, ada.from, 1); !errors.Is(err, snapshot.ErrDamaged) {
			t.Fatalf("bit flipped in byte %d: %v", i, err)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := opens(t, s, ada.from, 1); !errors.Is(err, snapshot.ErrDamaged) {
		t.Errorf("removed: %v", err)
	}
}
