package verify_test

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"rqvault/internal/job"
	"rqvault/verify"
)

// Very many findings come in pieces, which together are what comes in one otherwise.
func TestFindingsInPieces(t *testing.T) {
	for _, n := range []int{0, 1, 4096, 4097, 10_000} {
		var snap []*job.Row
		for i := range n {
			snap = append(snap, row(fmt.Sprintf("%05d", i), job.Queued))
		}
		var got [2]*verify.Result
		for i := range got {
			o := against(&fakeLive{looks: [][]*job.Row{{}}}, snap...)
			o.Pieces = i == 1
			r, err := verify.Against(t.Context(), o)
			if err != nil || r.Counts[verify.Lost] != n {
				t.Fatalf("%d jobs: %v, %v", n, r, err)
			}
			got[i] = r
		}
		if len(got[0].Findings) != n || len(got[0].Pieces) > 0 || got[1].Findings != nil {
			t.Errorf("%d jobs: %d findings, and %d beside pieces", n, len(got[0].Findings), len(got[1].Findings))
		}
		if all := slices.Concat(got[1].Pieces...); !reflect.DeepEqual(all, got[0].Findings) {
			t.Errorf("%d jobs: the pieces have %d findings, and not the same", n, len(all))
		}
		for i, f := range got[0].Findings {
			if f.JobID != snap[i].ID {
				t.Fatalf("%d jobs: finding %d is about %s", n, i, f.JobID)
			}
		}
	}
}
