package verify_test

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"rqvault/internal/job"
	"rqvault/internal/rq"
	"rqvault/verify"
)

// glanced is a live row of which only as much was read as a glance at its first fields says
// is needed.
func glanced(l *job.Row) *job.Row {
	if !l.Exists {
		return l
	}
	schema := rq.Schema{}
	texts, first := schema.VersionTexts(l), make([][]byte, schema.FieldsAtFirst())
	texts["origin"] = l.Queue
	for i, name := range schema.FieldsToCompare()[:len(first)] {
		first[i] = []byte(texts[name])
	}
	enough, ends := schema.Glance(first)
	if !enough {
		return l
	}
	g := *l
	if g.Worker, g.Parents = "", nil; !ends {
		g.ExpireAt = 0
	}
	return &g
}

// What a glance leaves out, no verdict, no finding and no sign of a loss rests on.
func TestLawAGlanceTellsWhatTheWholeDoes(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 11))
	flushed := sameFacts(map[string]int64{"flushall": 1})
	spared, cuts := 0, 0
	for round := range 60 {
		snap := randomIndex(r, 40+r.IntN(160))
		for i, s := range snap {
			if s.Worker = "w"; i > 0 && r.IntN(2) == 0 {
				s.Parents = []string{snap[r.IntN(i)].ID}
				s.ParentSet, s.ListedBy = s.Parents, s.Parents
			}
		}
		var whole, first []*job.Row
		homes := rq.Schema{}.Homes(statuses[r.IntN(len(statuses))]) // nothing stands there any more
		for _, s := range snap {
			l := mutate(r, s)
			if l == nil {
				continue
			}
			l.Places = slices.DeleteFunc(slices.Clone(l.Places), func(p job.Place) bool { return slices.Contains(homes, p.Kind) })
			if round%2 == 0 { // of itself, perhaps
				l.ExpireAt = now.Add(time.Duration(r.IntN(8)) * time.Second).UnixMilli()
			}
			g := glanced(l)
			if g != l {
				spared++
			}
			whole, first = append(whole, l), append(first, g)
		}
		facts := sameFacts(nil)
		if round%3 == 0 {
			facts = flushed
		}
		var got [2]*verify.Result
		for i, rs := range [][]*job.Row{whole, first} {
			synctest.Test(t, func(t *testing.T) {
				res, err := verify.Against(t.Context(), against(&fakeLive{looks: [][]*job.Row{rs}, facts: facts, undated: true}, snap...))
				if err != nil {
					t.Fatal(err)
				}
				for j := range res.Findings {
					if seen := res.Findings[j].Seen; seen != nil { // a plan keeps its status, its places and when what happened
						plain := *seen
						plain.Worker, plain.Parents, plain.ExpireAt = "", nil, 0
						res.Findings[j].Seen = &plain
					}
				}
				got[i] = res
			})
		}
		cuts += len(got[0].Lineage.Reasons) - 1
		if !reflect.DeepEqual(got[0].Lineage, got[1].Lineage) || !reflect.DeepEqual(got[0].Counts, got[1].Counts) || got[0].Deleted != got[1].Deleted ||
			!reflect.DeepEqual(got[0].Intact, got[1].Intact) || !reflect.DeepEqual(got[0].Settled, got[1].Settled) {
			t.Fatalf("round %d: by a glance %v and %v, by the whole %v and %v", round, got[1].Lineage, got[1].Counts, got[0].Lineage, got[0].Counts)
		}
		for i, f := range got[0].Findings {
			if !reflect.DeepEqual(f, got[1].Findings[i]) {
				t.Fatalf("round %d: by a glance\n%+v\nby the whole\n%+v", round, got[1].Findings[i], f)
			}
		}
	}
	if spared < 1000 || cuts == 0 {
		t.Errorf("a glance was enough for %d jobs, and %d signs of a loss were found: nothing was compared", spared, cuts)
	}
}
