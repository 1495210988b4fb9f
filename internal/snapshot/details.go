package snapshot

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
)

// encryptedVersion is the format of a manifest whose snapshot is encrypted. Programs that
// know none refuse it.
const encryptedVersion = 2

// details are the members of a manifest that are encrypted with the snapshot: what names a
// queue or can hold what the application wrote.
type details struct {
	ID     ID     `json:"id"` // and Nonce: whose they are
	Nonce  string `json:"nonce"`
	Counts Counts `json:"counts"`
	// Registered and Aux are those of the manifest.
	Registered map[string][]string `json:"registered_queues"`
	Aux        map[string]string   `json:"aux"`
}

// readableAux are the dump's fields that stay readable: a backup that can read no snapshot
// still has to see whether Redis lost data since the last one.
var readableAux = []string{"repl-id", "repl-offset"}

// seal returns the manifest as it is stored, with its details encrypted.
func (m *Manifest) seal(s Sealer) (*Manifest, error) {
	b, err := json.Marshal(details{ID: m.ID, Nonce: m.Nonce, Counts: m.Counts, Registered: m.Registered, Aux: m.Dump.Aux})
	if err != nil {
		return nil, fmt.Errorf("marshal the details: %w", err)
	}
	var out bytes.Buffer
	w, err := s.Seal(&out)
	if err == nil {
		_, err = w.Write(b)
		err = errors.Join(err, w.Close())
	}
	if err != nil {
		return nil, fmt.Errorf("encrypt the details: %w", err)
	}
	stored := *m
	stored.Encryption = &Encryption{Epoch: s.Epoch(), Details: out.Bytes()}
	stored.Counts = Counts{Keys: m.Counts.Keys, Jobs: m.Counts.Jobs, Rows: m.Counts.Rows}
	stored.Registered, stored.Dump.Aux = nil, map[string]string{}
	for _, name := range readableAux {
		if v, ok := m.Dump.Aux[name]; ok {
			stored.Dump.Aux[name] = v
		}
	}
	return &stored, nil
}

// unlock decrypts the details into the manifest. Where that takes an identity that is not
// at hand, the manifest stays without them, and Locked says why.
func (c *Catalog) unlock(ctx context.Context, m *Manifest) error {
	if m.Encryption == nil {
		return nil
	}
	sealed := m.Encryption.Details
	m.Encryption.Details = nil
	o, err := c.opener(ctx, m)
	if errors.Is(err, ErrNoIdentity) || errors.Is(err, ErrWrongKey) {
		m.locked = err
		return nil
	}
	if err != nil {
		return err
	}
	var b []byte
	r, err := o.Open(bytes.NewReader(sealed))
	if err == nil {
		b, err = io.ReadAll(r)
	}
	if err != nil {
		return fmt.Errorf("the details in the manifest of %s: %w", m.ID, err)
	}
	var d details
	if err := json.Unmarshal(b, &d); err != nil {
		return fmt.Errorf("%w: the details in the manifest of %s are no JSON: %w", ErrDamaged, m.ID, err)
	}
	c1, c2 := m.Counts, d.Counts
	if d.ID != m.ID || d.Nonce != m.Nonce || c1.Keys != c2.Keys || c1.Jobs != c2.Jobs || c1.Rows != c2.Rows {
		return fmt.Errorf("%w: the details in the manifest of %s are of another snapshot", ErrDamaged, m.ID)
	}
	m.Counts, m.Registered, m.Dump.Aux = d.Counts, d.Registered, d.Aux
	return nil
}

// Locked says why the encrypted part of the manifest could not be read: an ErrNoIdentity
// or ErrWrongKey; nil if everything is there.
func (m *Manifest) Locked() error { return m.locked }

// validEncryption checks what a manifest says of its encryption.
func (m *Manifest) validEncryption(check func(ok bool, what string)) {
	e := m.Encryption
	check((m.Format >= encryptedVersion) == (e != nil), "its format does not fit its encryption")
	check(e == nil || e.Epoch >= 1, "its epoch is impossible")
	for _, o := range m.Objects {
		x := o.Encrypted
		check((x != nil) == (e != nil) && (x != nil) == (plainName(o.Name) != o.Name), "an object's encryption is not the snapshot's")
		check(x == nil || x.Plain >= 0 && x.Plain <= o.Size && x.Head > 0 && x.Head <= min(o.Size, maxHead) && validDigest(x.HeadSHA256),
			"the entry of an encrypted object is impossible")
	}
}

// names returns the names of the objects, without the marks of encryption, in order.
func (m *Manifest) names() []string {
	names := make([]string, 0, len(m.Objects))
	for _, o := range m.Objects {
		names = append(names, plainName(o.Name))
	}
	slices.Sort(names)
	return names
}
