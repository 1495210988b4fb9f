package seal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"filippo.io/age"

	"rqvault/internal/snapshot"
)

// Options say what a keyring has in hand.
type Options struct {
	Identities []Identity // to open with; none: encrypted snapshots stay closed
	// Recipient is the one that new snapshots must be encrypted for; "" is whichever the
	// store names.
	Recipient string
}

// Keyring is the keys of one store. It may be used concurrently.
type Keyring struct {
	store snapshot.Store
	o     Options

	mu     sync.Mutex
	opened map[int]*opener
}

var _ snapshot.Keys = (*Keyring)(nil)

// NewKeyring returns the keys of a store. It reads nothing yet.
func NewKeyring(s snapshot.Store, o Options) *Keyring {
	return &Keyring{store: s, o: o, opened: map[int]*opener{}}
}

// Sealer implements snapshot.Keys: it encrypts for the newest epoch.
func (k *Keyring) Sealer(ctx context.Context) (snapshot.Sealer, error) {
	all, err := k.revisions(ctx)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		if k.o.Recipient != "" {
			return nil, fmt.Errorf("%w: %s has no keys, and %s is demanded", snapshot.ErrPlain, k.store, k.o.Recipient)
		}
		return nil, nil
	}
	d, err := k.document(ctx, slices.Max(slices.Collect(maps.Keys(all))))
	if err != nil {
		return nil, err
	}
	if k.o.Recipient != "" && k.o.Recipient != d.Recipient {
		return nil, fmt.Errorf("%w: epoch %d of %s is for %s, and %s is demanded", snapshot.ErrPlain, d.Epoch, k.store, d.Recipient, k.o.Recipient)
	}
	r, err := age.ParseX25519Recipient(d.Recipient)
	if err != nil {
		return nil, err
	}
	return &sealer{epoch: d.Epoch, to: r}, nil
}

// Opener implements snapshot.Keys.
func (k *Keyring) Opener(ctx context.Context, epoch int) (snapshot.Opener, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if o := k.opened[epoch]; o != nil {
		return o, nil
	}
	if len(k.o.Identities) == 0 {
		return nil, snapshot.ErrNoIdentity
	}
	d, err := k.document(ctx, epoch)
	if err != nil {
		return nil, err
	}
	identity, err := d.open(k.o.Identities)
	if err != nil {
		return nil, err
	}
	k.opened[epoch] = &opener{epoch: epoch, identity: identity}
	return k.opened[epoch], nil
}

// Epoch is one epoch of a store's keys.
type Epoch struct {
	Epoch     int       `json:"epoch"`
	Revision  int       `json:"revision"`
	FoundedAt time.Time `json:"founded_at"`
	ChangedAt time.Time `json:"changed_at"`
	Recipient string    `json:"recipient"`
	Operators []string  `json:"operators"`
	// Stale is how many earlier revisions could not be removed: their operators still open it.
	Stale int `json:"stale"`
	// Proven says that who wrote it held its key; nil if no identity was there to tell.
	Proven *bool `json:"proven,omitempty"`
}

// Epochs lists the store's keys, oldest first.
func (k *Keyring) Epochs(ctx context.Context) ([]Epoch, error) {
	all, err := k.revisions(ctx)
	if err != nil {
		return nil, err
	}
	out := []Epoch{}
	for _, n := range slices.Sorted(maps.Keys(all)) {
		d, err := k.document(ctx, n)
		if err != nil {
			return nil, err
		}
		e := Epoch{Epoch: n, Revision: d.Revision, FoundedAt: d.FoundedAt, ChangedAt: d.ChangedAt, Recipient: d.Recipient,
			Operators: d.names(), Stale: len(all[n]) - 1}
		identity, err := d.open(k.o.Identities)
		switch {
		case errors.Is(err, snapshot.ErrNoIdentity), errors.Is(err, snapshot.ErrWrongKey):
		case err != nil:
			return nil, err
		default:
			proven := d.prove(identity) == nil
			e.Proven = &proven
		}
		out = append(out, e)
	}
	return out, nil
}

// FoundedAt is when the store was first given keys; the zero time if it has none.
func (k *Keyring) FoundedAt(ctx context.Context) (time.Time, error) {
	all, err := k.revisions(ctx)
	if err != nil || len(all) == 0 {
		return time.Time{}, err
	}
	d, err := k.document(ctx, slices.Min(slices.Collect(maps.Keys(all))))
	if err != nil {
		return time.Time{}, err
	}
	return d.FoundedAt, nil
}

// sealer encrypts for one epoch.
type sealer struct {
	epoch int
	to    age.Recipient
}

func (s *sealer) Epoch() int { return s.epoch }

func (s *sealer) Seal(w io.Writer) (io.WriteCloser, error) { return age.Encrypt(w, s.to) }

// opener decrypts what is of one epoch.
type opener struct {
	epoch    int
	identity *age.X25519Identity
}

func (o *opener) Open(r io.Reader) (io.Reader, error) {
	plain, err := age.Decrypt(r, o.identity)
	if err != nil {
		return nil, o.damaged(err)
	}
	return &stream{plain, o}, nil
}

// damaged is what any failure to decrypt means: the key is the right one.
func (o *opener) damaged(err error) error {
	var other *age.NoIdentityMatchError
	if errors.As(err, &other) {
		return fmt.Errorf("%w: it is not encrypted with the key of epoch %d", snapshot.ErrDamaged, o.epoch)
	}
	return fmt.Errorf("%w: it does not decrypt: %w", snapshot.ErrDamaged, err)
}

type stream struct {
	r io.Reader
	o *opener
}

func (s *stream) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		err = s.o.damaged(err)
	}
	return n, err
}
