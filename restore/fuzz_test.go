package restore_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"

	"rqvault/restore"
	"rqvault/verify"
)

// FuzzParsePlan: whatever the bytes, they are refused with ErrPlan, or they are a plan
// that is written and read again as the same.
func FuzzParsePlan(f *testing.F) {
	f.Add(marshal(f, full()))
	f.Add(marshal(f, &restore.Plan{Snapshot: snapshotID, Policy: verify.AtLeastOnce}))
	f.Add(sealed(f, func(m map[string]any) { m["format"] = 2 }))
	f.Add(sealed(f, func(m map[string]any) { m["steps"] = nil }))
	f.Add([]byte("{\n  \"digest\": \"sha256:"))
	f.Add([]byte(`,"format":1,"snapshot":"` + snapshotID + `","created_at":"2026-11-23T07:00:00.5+23:59","steps":[{"JOB_ID":"\ud800","Action":"hold","waits_for":[]}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, doc := range [][]byte{b, resealed(b)} {
			p, err := restore.ParsePlan(doc)
			if err != nil {
				if !errors.Is(err, restore.ErrPlan) || p != nil {
					t.Fatalf("got %v, %v, want no plan and ErrPlan", p, err)
				}
				continue
			}
			for i, s := range p.Steps {
				if (s.JobID == "") == (s.Key == "") || s.DB < 0 {
					t.Fatalf("step %d was read as %+v", i, s)
				}
			}
			once := marshal(t, p)
			again, err := restore.ParsePlan(once)
			if err != nil {
				t.Fatalf("written again: %v", err)
			}
			if twice := marshal(t, again); !json.Valid(once) || !bytes.Equal(once, twice) || len(again.Steps) != len(p.Steps) {
				t.Fatalf("written again it says %s, then %s", once, twice)
			}
		}
	})
}
