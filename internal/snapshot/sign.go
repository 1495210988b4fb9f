package snapshot

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
)

// Errors of signatures. Test with errors.Is.
var (
	// ErrUnsigned: a signature is demanded, and there is none.
	ErrUnsigned = errors.New("not signed")
	// ErrForged: what is stored was not written by who should have.
	ErrForged = errors.New("forged")
)

// signatureName is the object that holds the Ed25519 signature over the bytes of
// manifest.json: 64 bytes and nothing else, so that other programs can check it.
const signatureName = "manifest.sig"

// WithSigner returns the catalog so that it signs the manifests it commits.
func (c *Catalog) WithSigner(key ed25519.PrivateKey) *Catalog {
	with := *c
	with.signer = key
	return &with
}

// WithTrust returns the catalog so that it reads no manifest but those signed by one of
// the keys; without any it reads all.
func (c *Catalog) WithTrust(keys []ed25519.PublicKey) *Catalog {
	with := *c
	with.trusted = keys
	return &with
}

// Distrusts reports whether unsigned snapshots are refused.
func (c *Catalog) Distrusts() bool { return len(c.trusted) > 0 }

// sign stores the signature of a manifest that is yet to be written.
func (d *Draft) sign(ctx context.Context, manifest []byte) error {
	if d.c.signer == nil {
		return nil
	}
	d.names = append(d.names, signatureName)
	if err := writeAll(ctx, d.c.store, d.c.key(d.id, signatureName), ed25519.Sign(d.c.signer, manifest)); err != nil {
		return fmt.Errorf("store the signature: %w", err)
	}
	return nil
}

// proveSigner checks who wrote a manifest, where that is demanded.
func (c *Catalog) proveSigner(ctx context.Context, id ID, manifest []byte) error {
	if !c.Distrusts() {
		return nil
	}
	sig, err := readAll(ctx, c.store, c.key(id, signatureName))
	if errors.Is(err, ErrNotFound) {
		return fmt.Errorf("the manifest of %s is %w", id, ErrUnsigned)
	}
	if err != nil {
		return fmt.Errorf("read the signature of %s: %w", id, err)
	}
	for _, key := range c.trusted {
		if ed25519.Verify(key, manifest, sig) {
			return nil
		}
	}
	return fmt.Errorf("the manifest of %s is %w: its signature is by none of the keys that are trusted, or over other bytes", id, ErrForged)
}
