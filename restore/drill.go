package restore

import (
	"time"

	"rqvault/internal/snapshot"
	"rqvault/verify"
)

// DrillResult is what a drill found: whether a snapshot comes back whole, and how long
// that takes. It holds names, and no value of any key.
type DrillResult struct {
	Snapshot snapshot.ID  `json:"snapshot"`
	Source   string       `json:"source"`
	At       time.Time    `json:"at"`     // when the drill began
	Into     string       `json:"into"`   // the target's URL without its password; "" for a private server
	Server   string       `json:"server"` // such as "redis 7.0.15"
	OK       bool         `json:"ok"`
	Seconds  DrillSeconds `json:"seconds"`
	Counts   DrillCounts  `json:"counts"`
	// Differences are the first ones; Counts.Differences is how many there are.
	Differences []verify.Difference `json:"differences"`
	// Failures are keys that the target refused.
	Failures []KeyFailure `json:"failures,omitempty"`
}

// DrillSeconds says how long each stage took.
type DrillSeconds struct {
	Fetch    float64 `json:"fetch"`    // reading the dump out of the store, proven
	Load     float64 `json:"load"`     // until the server had all of it
	Recovery float64 `json:"recovery"` // the two together: the time a real recovery would take
	Compare  float64 `json:"compare"`
	Total    float64 `json:"total"`
}

// DrillCounts says what was compared.
type DrillCounts struct {
	Keys        int64 `json:"keys"`
	Jobs        int64 `json:"jobs"`
	LeftOut     int64 `json:"left_out"` // keys that a restore leaves out on purpose
	Expired     int64 `json:"expired"`  // keys whose own expiry has passed
	Differences int64 `json:"differences"`
}

// Verification is the form in which a drill is kept beside its snapshot.
func (r *DrillResult) Verification(bytes int64) snapshot.Verification {
	v := snapshot.Verification{Kind: snapshot.Drilled, Snapshot: r.Snapshot, At: r.At, OK: r.OK, Bytes: bytes, Problems: []string{},
		Seconds: map[string]float64{"fetch": r.Seconds.Fetch, "load": r.Seconds.Load, "recovery": r.Seconds.Recovery,
			"compare": r.Seconds.Compare, "total": r.Seconds.Total},
		Counts: map[string]int64{"keys": r.Counts.Keys, "jobs": r.Counts.Jobs, "left_out": r.Counts.LeftOut,
			"expired": r.Counts.Expired, "differences": r.Counts.Differences}}
	for _, d := range r.Differences {
		if len(v.Problems) == problemsKept {
			break
		}
		v.Problems = append(v.Problems, d.String())
	}
	return v
}

// problemsKept bounds what is stored of a failed drill.
const problemsKept = 20
