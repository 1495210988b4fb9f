package snapshot

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Verification is the result of one full verify, kept beside the snapshot.
type Verification struct {
	Format   int       `json:"format"`
	Snapshot ID        `json:"snapshot"`
	At       time.Time `json:"at"`
	OK       bool      `json:"ok"`
	Bytes    int64     `json:"bytes"` // stored bytes read
	Problems []string  `json:"problems"`
}

const (
	verifiedOK     = "-ok.json"
	verifiedFailed = "-failed.json"
)

// Stamp stores a verification. Its name carries time and outcome, so that a listing
// answers "when was this last proven?".
func (c *Catalog) Stamp(ctx context.Context, v Verification) error {
	v.Format = FormatVersion
	b, err := Seal(v)
	if err != nil {
		return err
	}
	end := verifiedFailed
	if v.OK {
		end = verifiedOK
	}
	key := c.source + "/verified/" + string(v.Snapshot) + "/full-" + v.At.UTC().Format(idTime) + end
	if err := writeAll(ctx, c.store, key, b); err != nil {
		return fmt.Errorf("store the verification of %s: %w", v.Snapshot, err)
	}
	return nil
}

// Proof is when a snapshot last passed a full verify, and when it last failed one. Zero
// times: never.
type Proof struct{ OK, Failed time.Time }

// Damaged reports whether the last word on the snapshot was a failure.
func (p Proof) Damaged() bool { return p.Failed.After(p.OK) }

// Verified returns what the verifications stored beside the source's snapshots say.
func (c *Catalog) Verified(ctx context.Context) (map[ID]Proof, error) {
	prefix := c.source + "/verified/"
	proofs := map[ID]Proof{}
	for o, err := range c.store.List(ctx, prefix, "") {
		if err != nil {
			return nil, fmt.Errorf("list verifications: %w", err)
		}
		dir, name, _ := strings.Cut(strings.TrimPrefix(o.Key, prefix), "/")
		stamp, ok := strings.CutSuffix(strings.TrimPrefix(name, "full-"), verifiedOK)
		if !ok {
			stamp = strings.TrimSuffix(stamp, verifiedFailed)
		}
		t, err := time.Parse(idTime, stamp)
		if err != nil {
			continue
		}
		p := proofs[ID(dir)]
		if ok && t.After(p.OK) {
			p.OK = t
		}
		if !ok && t.After(p.Failed) {
			p.Failed = t
		}
		proofs[ID(dir)] = p
	}
	return proofs, nil
}
