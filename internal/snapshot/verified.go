package snapshot

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Verification is the result of one full verify or drill, kept beside the snapshot.
type Verification struct {
	Format   int       `json:"format"`
	Kind     Kind      `json:"kind,omitempty"` // absent means Full
	Snapshot ID        `json:"snapshot"`
	At       time.Time `json:"at"`
	OK       bool      `json:"ok"`
	Bytes    int64     `json:"bytes"` // stored bytes read
	Problems []string  `json:"problems"`
	// Of a drill: the seconds that each stage took, and how many keys and jobs were compared.
	Seconds map[string]float64 `json:"seconds,omitempty"`
	Counts  map[string]int64   `json:"counts,omitempty"`
}

// Kind is how a snapshot was proven.
type Kind string

// The kinds: Full read every stored byte back, Drilled put the snapshot into a server and
// compared that with it, Outside read every stored byte of an encrypted one without opening
// it.
const (
	Full    Kind = "full"
	Drilled Kind = "drill"
	Outside Kind = "outside"
)

const (
	verifiedOK     = "-ok.json"
	verifiedFailed = "-failed.json"
)

// Stamp stores a verification. Its name carries time and outcome, so that a listing
// answers "when was this last proven?".
func (c *Catalog) Stamp(ctx context.Context, v Verification) error {
	v.Format = FormatVersion
	if v.Kind == "" {
		v.Kind = Full
	}
	b, err := Seal(v)
	if err != nil {
		return err
	}
	end := verifiedFailed
	if v.OK {
		end = verifiedOK
	}
	key := c.source + "/verified/" + string(v.Snapshot) + "/" + string(v.Kind) + "-" + v.At.UTC().Format(idTime) + end
	if err := writeAll(ctx, c.store, key, b); err != nil {
		return fmt.Errorf("store the verification of %s: %w", v.Snapshot, err)
	}
	return nil
}

// Proof is when a snapshot last passed a full verify or a drill, and when it last failed
// one, and when its stored bytes were last found right without opening it. Zero times: never.
type Proof struct{ OK, Failed, DrillOK, DrillFailed, OutsideOK time.Time }

// Damaged reports whether the last word on the snapshot was a failure.
func (p Proof) Damaged() bool { return p.Failed.After(p.OK) }

// FailedDrill reports whether the last drill failed.
func (p Proof) FailedDrill() bool { return p.DrillFailed.After(p.DrillOK) }

// note takes in that a verification of that kind and outcome was made at t.
func (p *Proof) note(kind Kind, ok bool, t time.Time) {
	last := map[Kind]map[bool]*time.Time{
		Full:    {true: &p.OK, false: &p.Failed},
		Drilled: {true: &p.DrillOK, false: &p.DrillFailed},
		Outside: {true: &p.OutsideOK},
	}[kind][ok]
	if last != nil && t.After(*last) {
		*last = t
	}
}

// Verified returns what the verifications stored beside the source's snapshots say.
func (c *Catalog) Verified(ctx context.Context) (map[ID]Proof, error) {
	prefix := c.source + "/verified/"
	proofs := map[ID]Proof{}
	for o, err := range c.store.List(ctx, prefix, "") {
		if err != nil {
			return nil, fmt.Errorf("list verifications: %w", err)
		}
		dir, name, _ := strings.Cut(strings.TrimPrefix(o.Key, prefix), "/")
		kind, stamp, _ := strings.Cut(name, "-")
		stamp, ok := strings.CutSuffix(stamp, verifiedOK)
		if !ok {
			stamp = strings.TrimSuffix(stamp, verifiedFailed)
		}
		t, err := time.Parse(idTime, stamp)
		if err != nil {
			continue
		}
		p := proofs[ID(dir)]
		p.note(Kind(kind), ok, t)
		proofs[ID(dir)] = p
	}
	return proofs, nil
}

// LastDrill returns the newest drill stored beside a snapshot; nil if there was none.
func (c *Catalog) LastDrill(ctx context.Context, id ID) (*Verification, error) {
	prefix := c.source + "/verified/" + string(id) + "/" + string(Drilled) + "-"
	last := ""
	for o, err := range c.store.List(ctx, prefix, "") {
		if err != nil {
			return nil, fmt.Errorf("list the drills of %s: %w", id, err)
		}
		last = o.Key
	}
	if last == "" {
		return nil, nil
	}
	b, err := readAll(ctx, c.store, last)
	if err != nil {
		return nil, fmt.Errorf("read the last drill of %s: %w", id, err)
	}
	var v Verification
	if err := Unseal(b, &v); err != nil {
		return nil, fmt.Errorf("the last drill of %s: %w", id, err)
	}
	return &v, nil
}
