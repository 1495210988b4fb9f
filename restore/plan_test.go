package restore_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"rqvault/internal/job"
	"rqvault/internal/lineage"
	"rqvault/internal/snapshot"
	"rqvault/restore"
	"rqvault/verify"
)

// full is a plan in which every member says something.
func full() *restore.Plan {
	at := time.Date(2026, 11, 23, 7, 0, 0, 123456789, time.UTC)
	return &restore.Plan{
		Format: restore.PlanFormat, Snapshot: snapshotID, Source: "default", CreatedAt: at, RunID: strings.Repeat("a7", 20), Policy: verify.AtMostOnce,
		Lineage: lineage.Judgement{Mode: lineage.Older, Reasons: []string{"it came back <empty> & \"old\""}, Flushed: true, Unsure: true, StartedAt: at},
		Counts:  map[verify.Verdict]int{verify.Lost: 3, verify.Intact: 1 << 40},
		Steps: []restore.Step{
			{JobID: "a:b ü\n", Queue: "q/:", Status: job.Queued, Verdict: verify.Lost, Action: verify.Restore, Guard: verify.GuardWaits,
				Reason: "gone", Order: 1<<40 + 7, After: "z", List: "q\xff", Home: &restore.Home{Kind: job.InQueue, Queue: "q"}, WaitsFor: []string{"p1", "p2"}},
			{DB: math.MaxInt32, JobID: "b", Queue: "q", Status: job.Deferred, Verdict: verify.Misplaced, Action: verify.Place, Guard: verify.GuardSame},
			{JobID: "c", Status: job.Started, Verdict: verify.Uncertain, Action: verify.Hold, Reason: "may still run"},
			{Key: "session:*", Verdict: verify.Lost, Action: verify.Restore, Guard: verify.GuardAbsent},
		},
	}
}

func marshal(t testing.TB, p *restore.Plan) []byte {
	t.Helper()
	b, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAPlanIsReadAsItWasWritten(t *testing.T) {
	for name, p := range map[string]*restore.Plan{
		"every member": full(),
		"nothing":      {Format: restore.PlanFormat, Snapshot: snapshotID, Policy: verify.AtLeastOnce},
		"no steps":     {Format: restore.PlanFormat, Snapshot: snapshotID, Policy: verify.AtLeastOnce, Steps: []restore.Step{}, Counts: map[verify.Verdict]int{}},
	} {
		b := marshal(t, p)
		got, err := restore.ParsePlan(b)
		if err != nil || !reflect.DeepEqual(got, p) {
			t.Errorf("%s: got %+v, %v\nwant %+v", name, got, err, p)
			continue
		}
		if again := marshal(t, got); !bytes.Equal(again, b) {
			t.Errorf("%s: written again it is other bytes", name)
		}
		if !json.Valid(b) || !bytes.HasPrefix(b, []byte("{\n  \"digest\": \"sha256:")) {
			t.Errorf("%s: a plan is not JSON with its digest first: %.60s", name, b)
		}
	}
	p := full()
	p.Format = 0
	if got, err := restore.ParsePlan(marshal(t, p)); err != nil || got.Format != restore.PlanFormat {
		t.Errorf("a new plan: got %v, want it written in the present format", err)
	}
}

// The planner's own fields do not travel, and what it made does.
func TestAPlannersStepsSurviveTheFile(t *testing.T) {
	p := restore.NewPlanner(everything)
	snap := []*job.Row{queued("a", 0), queued("b", 1), queued("c", 2)}
	p.Add([]verify.Finding{*known(lost("a", job.Queued), snap), *known(lost("c", job.Queued), snap)})
	p.Survivors().Note(0, "q", 1)
	steps, err := p.Steps(func() verify.Rows { return rows(snap...) })
	if err != nil {
		t.Fatal(err)
	}
	want := &restore.Plan{Snapshot: snapshotID, Policy: verify.AtLeastOnce, Steps: steps, Counts: p.Counts()}
	b := marshal(t, want)
	got, err := restore.ParsePlan(b)
	if err != nil {
		t.Fatal(err)
	}
	if again := marshal(t, got); !bytes.Equal(again, b) || got.Steps[1].After != "b" {
		t.Errorf("got %s\nwant %s", again, b)
	}
}

// refused fails the test unless a plan is refused in one line that says one thing.
func refused(t testing.TB, what string, b []byte) string {
	t.Helper()
	p, err := restore.ParsePlan(b)
	if !errors.Is(err, restore.ErrPlan) || p != nil {
		t.Errorf("%s: got %+v, %v, want no plan and ErrPlan", what, p, err)
		return ""
	}
	text := err.Error()
	if strings.Count(text, restore.ErrPlan.Error()) != 1 || strings.Contains(text, "\n") || len(text) > 200 {
		t.Errorf("%s: got %q, want one short line", what, text)
	}
	return text
}

func TestEveryCutOfAPlanIsRefused(t *testing.T) {
	b := marshal(t, full())
	for n := range b {
		if text := refused(t, fmt.Sprintf("cut at %d", n), b[:n]); n < len(b)-1 && !strings.Contains(text, "was cut") {
			t.Fatalf("cut at %d: got %q, want it to say that it was cut", n, text)
		}
		refused(t, fmt.Sprintf("without byte %d", n), slices.Delete(bytes.Clone(b), n, n+1))
	}
	for _, more := range []string{" ", "\n", "}", "{}", "\x00", string(b)} {
		refused(t, fmt.Sprintf("with %.5q after its end", more), append(bytes.Clone(b), more...))
	}
}

func TestEveryBitFlipOfAPlanIsRefused(t *testing.T) {
	b := marshal(t, full())
	for i := range b {
		for bit := range 8 {
			b[i] ^= 1 << bit
			refused(t, fmt.Sprintf("bit %d of byte %d", bit, i), b)
			b[i] ^= 1 << bit
		}
	}
}

func TestAPlanThatCannotBeFollowedIsRefused(t *testing.T) {
	for what, change := range map[string]func(map[string]any){
		"a later format":            func(m map[string]any) { m["format"] = restore.PlanFormat + 1 },
		"no format":                 func(m map[string]any) { delete(m, "format") },
		"a format below all":        func(m map[string]any) { m["format"] = -1 },
		"a format that is text":     func(m map[string]any) { m["format"] = "1" },
		"no snapshot":               func(m map[string]any) { delete(m, "snapshot") },
		"a path as snapshot":        func(m map[string]any) { m["snapshot"] = "../../etc" },
		"a day that is none":        func(m map[string]any) { m["snapshot"] = "20261323T061500.123Z-4f2a9c01" },
		"a year beyond all":         func(m map[string]any) { m["created_at"] = "12026-11-23T07:00:00Z" },
		"steps that are no list":    func(m map[string]any) { m["steps"] = map[string]any{} },
		"a step that is no object":  func(m map[string]any) { m["steps"] = []any{7} },
		"a count that is no number": func(m map[string]any) { m["counts"] = map[string]any{"lost": 0.5} },
		"a count beyond all":        func(m map[string]any) { m["counts"] = map[string]any{"lost": 1e30} },
	} {
		if text := refused(t, what, sealed(t, change)); what == "a later format" && !strings.Contains(text, "version 2") {
			t.Errorf("%s: got %q, want the version named", what, text)
		}
	}
	for what, change := range map[string]func(map[string]any){
		"neither job nor key":      func(s map[string]any) { delete(s, "job_id") },
		"an empty id":              func(s map[string]any) { s["job_id"] = "" },
		"a job and a key":          func(s map[string]any) { s["key"] = "k" },
		"an unknown action":        func(s map[string]any) { s["action"] = "delete" },
		"an action in capitals":    func(s map[string]any) { s["action"] = "Restore" },
		"no action":                func(s map[string]any) { delete(s, "action") },
		"the action of no finding": func(s map[string]any) { s["action"] = "none" },
		"a database below 0":       func(s map[string]any) { s["db"] = -1 },
		"a database beyond all":    func(s map[string]any) { s["db"] = 1 << 31 },
		"an order beyond all":      func(s map[string]any) { s["order"] = 1e30 },
		"an order that is half":    func(s map[string]any) { s["order"] = 0.5 },
		"an id that is a number":   func(s map[string]any) { s["job_id"] = 7 },
		"parents that are no list": func(s map[string]any) { s["waits_for"] = "p1" },
	} {
		for _, at := range []int{0, 2} {
			text := refused(t, what, sealed(t, func(m map[string]any) { change(m["steps"].([]any)[at].(map[string]any)) }))
			if strings.Contains(text, "impossible") && !strings.Contains(text, fmt.Sprintf("step %d ", at)) {
				t.Errorf("%s: got %q, want step %d named", what, text, at)
			}
		}
	}
	for _, other := range []any{map[string]int{"format": 1}, map[string]any{"format": 1, "objects": []any{}}} {
		b, err := snapshot.Seal(other)
		if err != nil {
			t.Fatal(err)
		}
		refused(t, fmt.Sprintf("a sealed document of another sort, %v", other), b)
	}
	for _, text := range []string{"", " ", "null", "[]", "{}", "7", `"plan"`, "\x00", "\xff\xfe{", strings.Repeat("[", 1<<20), `{"format":1,"steps":[]}`} {
		refused(t, fmt.Sprintf("%.20q", text), []byte(text))
	}
}

// sealed is the full plan, changed and under a right digest again.
func sealed(t testing.TB, change func(map[string]any)) []byte {
	t.Helper()
	b := marshal(t, full())
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	change(m)
	delete(m, "digest")
	var err error
	if b, err = snapshot.Seal(m); err != nil {
		t.Fatal(err)
	}
	return b
}

// A later version may add members, which count for the digest and are passed over.
func TestMembersOfALaterPlanArePassedOver(t *testing.T) {
	b := sealed(t, func(m map[string]any) {
		m["zz_future"] = map[string]any{"x": 1}
		m["steps"].([]any)[0].(map[string]any)["zz_future"] = []int{1}
	})
	got, err := restore.ParsePlan(b)
	if err != nil || !reflect.DeepEqual(got, full()) {
		t.Errorf("got %+v, %v", got, err)
	}
}

// What a plan makes the reader hold is bounded by the file's size, not by what is in it:
// an empty step is the worst, since a step in memory is larger than its three bytes.
func TestReadingAPlanTakesMemoryInProportion(t *testing.T) {
	for what, steps := range map[string]string{
		"empty steps": strings.Repeat("{},", 100_000) + "{}", "deep nesting": strings.Repeat("[", 100_000),
		"a number of many digits": `{"order":` + strings.Repeat("9", 300_000) + "}", "an id of many bytes": `{"job_id":"` + strings.Repeat("x", 300_000) + `"}`,
	} {
		b := resealed([]byte(`,"format":1,"snapshot":"` + snapshotID + `","steps":[` + steps + "]}"))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		refused(t, what, b)
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 600*uint64(len(b)) {
			t.Errorf("%s: a plan of %d bytes took %d to read", what, len(b), n)
		}
	}
}

// resealed puts a right digest before whatever follows the first comma.
func resealed(b []byte) []byte {
	if at := bytes.IndexByte(b, ','); at >= 0 {
		b = b[at+1:]
	}
	return []byte("{\n  \"digest\": \"sha256:" + snapshot.SHA256(b) + "\"," + string(b))
}
