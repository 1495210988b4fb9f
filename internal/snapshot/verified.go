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

// Verified returns, for each snapshot of the source, when it last passed a full verify.
func (c *Catalog) Verified(ctx context.Context) (map[ID]time.Time, error) {
	prefix := c.source + "/verified/"
	at := map[ID]time.Time{}
	for o, err := range c.store.List(ctx, prefix, "") {
		if err != nil {
			return nil, fmt.Errorf("list verifications: %w", err)
		}
		dir, name, _ := strings.Cut(strings.TrimPrefix(o.Key, prefix), "/")
		stamp, ok := strings.CutSuffix(strings.TrimPrefix(name, "full-"), verifiedOK)
		t, err := time.Parse(idTime, stamp)
		if ok && err == nil && t.After(at[ID(dir)]) {
			at[ID(dir)] = t
		}
	}
	return at, nil
}
