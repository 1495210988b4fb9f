// Package seal encrypts a store's snapshots and opens them, with age
// (age-encryption.org/v1): one age stream per object, for the key of an epoch. It is the
// only user of the age library.
//
//	<root>/keys/<epoch>/<revision>.json   the epoch's recipient, and its identity once for each operator
//
// To encrypt takes the recipient, which is public. To open takes the epoch's identity, and
// that takes the identity or the passphrase of one of the operators. A change of operators
// is a new revision, create-only; the newest counts, and those before it are removed. New
// keys are a new epoch; what was encrypted before stays with its own.
package seal

import (
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"filippo.io/age"
	"filippo.io/age/armor"

	"rqvault/internal/snapshot"
)

// Errors of keys, besides those of snapshot. Test with errors.Is.
var (
	// ErrExists: the store has keys already.
	ErrExists = errors.New("the store has keys already")
	// ErrNoKeys: the store has none.
	ErrNoKeys = errors.New("the store has no keys")
	// ErrRaced: somebody else changed the keys in the same moment.
	ErrRaced = errors.New("somebody else changed the keys in the same moment")
	// ErrRecipient: a text is no recipient, or not one of the operators.
	ErrRecipient = errors.New("not a recipient")
	// ErrLast: the change would leave nobody.
	ErrLast = errors.New("nobody would be left")
	// ErrIdentity: what was given as an identity cannot be used as one.
	ErrIdentity = errors.New("not an identity")
)

// documentVersion is the format of the documents of keys.
const documentVersion = 1

// lastNumber is the greatest that an epoch or a revision can have: their names sort.
const lastNumber = 9999

// document is one revision of an epoch's keys.
type document struct {
	Format    int        `json:"format"`
	Epoch     int        `json:"epoch"`
	Revision  int        `json:"revision"`
	FoundedAt time.Time  `json:"founded_at"` // of the epoch
	ChangedAt time.Time  `json:"changed_at"` // of this revision
	Recipient string     `json:"recipient"`
	Operators []operator `json:"operators"`
	// Proof is an HMAC-SHA256 over the document without it, by the epoch's identity: whoever
	// wrote it held that.
	Proof string `json:"proof"`
}

// operator is one who can open the epoch.
type operator struct {
	Recipient string `json:"recipient"` // as age writes it, or Passphrase
	Identity  string `json:"identity"`  // of the epoch, encrypted for that recipient, armored
}

func documentKey(epoch, revision int) string {
	return fmt.Sprintf("%s%04d/%04d.json", snapshot.KeysPrefix, epoch, revision)
}

// revisions lists the documents that a store has, by epoch, in order.
func (k *Keyring) revisions(ctx context.Context) (map[int][]int, error) {
	found := map[int][]int{}
	for o, err := range k.store.List(ctx, snapshot.KeysPrefix, "") {
		if errors.Is(err, snapshot.ErrNoStore) {
			break // the first write makes a directory; a bucket that is missing will say so then
		}
		if err != nil {
			return nil, fmt.Errorf("look for the store's keys: %w", err)
		}
		var epoch, revision int
		if n, _ := fmt.Sscanf(o.Key, snapshot.KeysPrefix+"%d/%d.json", &epoch, &revision); n == 2 && o.Key == documentKey(epoch, revision) {
			found[epoch] = append(found[epoch], revision)
		}
	}
	return found, nil
}

// document reads the newest revision of an epoch.
func (k *Keyring) document(ctx context.Context, epoch int) (*document, error) {
	for again := true; ; again = false {
		all, err := k.revisions(ctx)
		if err != nil {
			return nil, err
		}
		revisions := all[epoch]
		if len(revisions) == 0 {
			return nil, fmt.Errorf("%w: the keys of epoch %d are gone from %s", snapshot.ErrDamaged, epoch, k.store)
		}
		d := new(document)
		err = snapshot.ReadDocument(ctx, k.store, documentKey(epoch, revisions[len(revisions)-1]), d)
		if errors.Is(err, snapshot.ErrNotFound) && again {
			continue // a newer one came, and took its place
		}
		if err != nil {
			return nil, err
		}
		return d, d.check(epoch, revisions[len(revisions)-1])
	}
}

func (d *document) check(epoch, revision int) error {
	what := documentKey(epoch, revision)
	if d.Format > documentVersion {
		return fmt.Errorf("%s: %w: version %d, this rqvault reads up to %d", what, snapshot.ErrTooNew, d.Format, documentVersion)
	}
	_, err := age.ParseX25519Recipient(d.Recipient)
	if err != nil || d.Format < 1 || d.Epoch != epoch || d.Revision != revision || len(d.Operators) == 0 {
		return fmt.Errorf("%w: %s is no document of keys", snapshot.ErrDamaged, what)
	}
	return nil
}

// open decrypts the epoch's identity with whatever of the identities is an operator's.
func (d *document) open(identities []Identity) (*age.X25519Identity, error) {
	if len(identities) == 0 {
		return nil, snapshot.ErrNoIdentity
	}
	for _, o := range d.Operators {
		var fit []age.Identity
		for _, i := range identities {
			if i.passphrase == (o.Recipient == Passphrase) {
				fit = append(fit, i.age)
			}
		}
		if len(fit) == 0 {
			continue
		}
		text, err := unwrap(o.Identity, fit)
		var other *age.NoIdentityMatchError
		if errors.As(err, &other) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%w: the keys of epoch %d for %s: %w", snapshot.ErrDamaged, d.Epoch, o.Recipient, err)
		}
		return age.ParseX25519Identity(strings.TrimSpace(text))
	}
	return nil, fmt.Errorf("%w (epoch %d is for %s)", snapshot.ErrWrongKey, d.Epoch, strings.Join(d.names(), ", "))
}

func unwrap(text string, identities []age.Identity) (string, error) {
	r, err := age.Decrypt(armor.NewReader(strings.NewReader(text)), identities...)
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(r)
	return string(b), err
}

// wrap encrypts an epoch's identity for one operator.
func wrap(identity *age.X25519Identity, r Recipient) (operator, error) {
	var out bytes.Buffer
	text := armor.NewWriter(&out)
	w, err := age.Encrypt(text, r.age)
	if err == nil {
		_, err = io.WriteString(w, identity.String()+"\n")
		err = errors.Join(err, w.Close(), text.Close())
	}
	if err != nil {
		return operator{}, fmt.Errorf("encrypt the key for %s: %w", r.name, err)
	}
	return operator{Recipient: r.name, Identity: out.String()}, nil
}

// names lists the operators.
func (d *document) names() []string {
	var names []string
	for _, o := range d.Operators {
		names = append(names, o.Recipient)
	}
	return names
}

// proof is what Proof must be.
func (d *document) proof(identity *age.X25519Identity) (string, error) {
	bare := *d
	bare.Proof = ""
	b, err := json.Marshal(bare)
	if err != nil {
		return "", err
	}
	key, err := hkdf.Key(sha256.New, []byte(identity.String()), nil, "rqvault keys document", sha256.Size)
	if err != nil {
		return "", err
	}
	mac := hmac.New(sha256.New, key)
	_, _ = mac.Write(b)
	return hex.EncodeToString(mac.Sum(nil)), nil
}

// prove checks that whoever wrote the document held the epoch's identity.
func (d *document) prove(identity *age.X25519Identity) error {
	want, err := d.proof(identity)
	if err != nil {
		return err
	}
	if !hmac.Equal([]byte(want), []byte(d.Proof)) || identity.Recipient().String() != d.Recipient {
		return fmt.Errorf("%w: %s was not written by anybody who holds that key", snapshot.ErrForged, documentKey(d.Epoch, d.Revision))
	}
	return nil
}
