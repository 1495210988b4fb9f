package seal

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"filippo.io/age"

	"rqvault/internal/snapshot"
)

// Found gives a store its first keys, for these operators.
func (k *Keyring) Found(ctx context.Context, to []Recipient, now time.Time) error {
	all, err := k.revisions(ctx)
	if err != nil {
		return err
	}
	if len(all) > 0 {
		return fmt.Errorf("%w (%s)", ErrExists, k.store)
	}
	return k.begin(ctx, 1, to, now)
}

// Rotate begins a new epoch for the operators of the newest, whose list must be proven to be
// written by one of them. A passphrase among them is encrypted for anew, so that it must be
// at hand.
func (k *Keyring) Rotate(ctx context.Context, passphrase string, now time.Time) error {
	docs, err := k.documents(ctx)
	if err != nil {
		return err
	}
	last := docs[len(docs)-1]
	if _, err := last.unlocked(k); err != nil {
		return err
	}
	var to []Recipient
	for _, name := range last.names() {
		var r Recipient
		if name != Passphrase {
			r, err = ParseRecipient(name)
		} else if r, err = NewPassphrase(passphrase); err == nil {
			err = last.rightPassphrase(passphrase)
		}
		if err != nil {
			return err
		}
		to = append(to, r)
	}
	return k.begin(ctx, last.Epoch+1, to, now)
}

// rightPassphrase refuses one that does not open the epoch itself.
func (d *document) rightPassphrase(text string) error {
	i, err := PassphraseIdentity(text)
	if err == nil {
		_, err = d.open([]Identity{i})
	}
	return err
}

// Add lets more operators open every epoch.
func (k *Keyring) Add(ctx context.Context, to []Recipient, now time.Time) error {
	return k.change(ctx, now, func(d *document, identity *age.X25519Identity) error {
		for _, r := range to {
			if slices.ContainsFunc(d.Operators, func(o operator) bool { return means(o.Recipient, r.name) }) {
				continue
			}
			o, err := wrap(identity, r)
			if err != nil {
				return err
			}
			d.Operators = append(d.Operators, o)
		}
		return nil
	})
}

// Remove takes every epoch's key from operators, who are named as in their list, an SSH key
// also by its comment. What they copied before stays theirs.
func (k *Keyring) Remove(ctx context.Context, words []string, now time.Time) error {
	found := map[string]bool{}
	err := k.changeAfter(ctx, now, func(d *document, _ *age.X25519Identity) error {
		d.Operators = slices.DeleteFunc(d.Operators, func(o operator) bool {
			return slices.ContainsFunc(words, func(w string) bool {
				hit := means(o.Recipient, w)
				found[w] = found[w] || hit
				return hit
			})
		})
		if len(d.Operators) == 0 {
			return fmt.Errorf("%w who can open epoch %d", ErrLast, d.Epoch)
		}
		return nil
	}, func() error {
		for _, w := range words {
			if !found[w] {
				return fmt.Errorf("%w: %q is none of the operators, or no longer", ErrRecipient, short(w))
			}
		}
		return nil
	})
	return err
}

// documents reads the newest revision of each epoch, oldest first.
func (k *Keyring) documents(ctx context.Context) ([]*document, error) {
	all, err := k.revisions(ctx)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%w (%s)", ErrNoKeys, k.store)
	}
	var docs []*document
	for _, n := range slices.Sorted(maps.Keys(all)) {
		d, err := k.document(ctx, n)
		if err != nil {
			return nil, err
		}
		docs = append(docs, d)
	}
	return docs, nil
}

// unlocked opens a document and proves who wrote it: nobody is given a key whom a stranger
// put on the list.
func (d *document) unlocked(k *Keyring) (*age.X25519Identity, error) {
	identity, err := d.open(k.o.Identities)
	if err != nil {
		return nil, err
	}
	return identity, d.prove(identity)
}

type edit func(d *document, identity *age.X25519Identity) error

func (k *Keyring) change(ctx context.Context, now time.Time, f edit) error {
	return k.changeAfter(ctx, now, f, func() error { return nil })
}

// changeAfter edits every epoch, and writes those that changed once all edits and the check
// went well.
func (k *Keyring) changeAfter(ctx context.Context, now time.Time, f edit, check func() error) error {
	docs, err := k.documents(ctx)
	if err != nil {
		return err
	}
	identities := make([]*age.X25519Identity, len(docs))
	before := make([]int, len(docs))
	for i, d := range docs {
		if identities[i], err = d.unlocked(k); err != nil {
			return err
		}
		before[i] = len(d.Operators)
		if err := f(d, identities[i]); err != nil {
			return err
		}
	}
	if err := check(); err != nil {
		// A run before may have ended between its change and its sweep.
		for _, d := range docs {
			err = errors.Join(err, k.sweep(ctx, d))
		}
		return err
	}
	for i, d := range docs {
		if len(d.Operators) != before[i] {
			d.Revision++
			d.ChangedAt = now.UTC().Truncate(time.Second)
			if err := k.write(ctx, d, identities[i]); err != nil {
				return err
			}
		}
		if err := k.sweep(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

// begin writes an epoch's first revision.
func (k *Keyring) begin(ctx context.Context, epoch int, to []Recipient, now time.Time) error {
	if len(to) == 0 {
		return fmt.Errorf("%w: nobody is named who could open the snapshots", ErrRecipient)
	}
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		return fmt.Errorf("make a key: %w", err)
	}
	now = now.UTC().Truncate(time.Second)
	d := &document{Epoch: epoch, Revision: 1, FoundedAt: now, ChangedAt: now, Recipient: identity.Recipient().String()}
	for _, r := range to {
		o, err := wrap(identity, r)
		if err != nil {
			return err
		}
		d.Operators = append(d.Operators, o)
	}
	return k.write(ctx, d, identity)
}

// write stores a document, create-only: of two who change the same one, one fails.
func (k *Keyring) write(ctx context.Context, d *document, identity *age.X25519Identity) error {
	if d.Epoch > lastNumber || d.Revision > lastNumber {
		return fmt.Errorf("there is no epoch or revision after %d", lastNumber)
	}
	d.Format = documentVersion
	var err error
	if d.Proof, err = d.proof(identity); err != nil {
		return err
	}
	err = snapshot.WriteDocument(ctx, k.store, documentKey(d.Epoch, d.Revision), *d)
	if errors.Is(err, snapshot.ErrExists) {
		return fmt.Errorf("%w: %w", ErrRaced, err)
	}
	return err
}

// sweep removes the revisions before one: who was taken off the list could still open them.
func (k *Keyring) sweep(ctx context.Context, d *document) error {
	all, err := k.revisions(ctx)
	if err != nil {
		return err
	}
	for _, r := range all[d.Epoch] {
		if r >= d.Revision {
			continue
		}
		if err := k.store.Remove(ctx, documentKey(d.Epoch, r)); err != nil {
			return fmt.Errorf("%w: the change is made, but whoever was removed can still open the revision before it", err)
		}
	}
	return nil
}
