package report_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rqvault/internal/browsertest"
	"rqvault/internal/report"
	"rqvault/verify"
)

// save writes the page where a browser can open it.
func save(t testing.TB, d *report.Data) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "incident.html")
	if err := os.WriteFile(path, []byte(write(t, d)), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const (
	countRows = `document.querySelectorAll("#table tbody tr").length`
	shown     = `document.getElementById("shown").textContent`
	overflow  = `document.documentElement.scrollWidth - document.documentElement.clientWidth`
)

func TestABrowserSearchesAHundredThousandJobs(t *testing.T) {
	t.Parallel()
	d := outage(report.Applied)
	for i := range 100_000 - len(d.Jobs) {
		d.Jobs = append(d.Jobs, report.Job{ID: fmt.Sprintf("job-%06d", i), Queue: fmt.Sprintf("q%d", i%50), Status: "queued", Verdict: verify.Completed,
			Action: verify.None, Reason: "live holds everything up to the snapshot, so it ended or was deleted since", Evidence: []string{fmt.Sprintf("proof %d", i%1000)}})
	}
	p := browsertest.Open(t, save(t, d), true)
	if n := browsertest.Value[int](p, countRows); n != 100 {
		t.Errorf("%d rows are drawn, want 100 of them", n)
	}
	if got := browsertest.Value[string](p, shown); got != "1 to 100 of 100,000" {
		t.Errorf("it says %q", got)
	}
	p.Type("#search", "JOB-004711")
	p.Wait(countRows + " === 1")
	p.Wait(`document.querySelector("#table tbody .id").textContent === "job-004711"`)
	if got := browsertest.Value[string](p, shown); got != "1 that match; 100,000 in all" {
		t.Errorf("it says %q", got)
	}
	const search = `(text => { const s = document.getElementById("search"); s.value = text; s.dispatchEvent(new Event("input")); return true; })`
	browsertest.Value[bool](p, search+`("proof q17 job-010")`) // each word somewhere, the first only in evidence
	p.Wait(shown + ` === "20 that match; 100,000 in all"`)
	browsertest.Value[bool](p, search+`("no such job at all")`)
	p.Wait(shown + ` === "None of 100,000 match"`)
	browsertest.Value[bool](p, search+`("")`)
	p.Wait(shown + ` === "1 to 100 of 100,000"`)

	const choose = `((id, text) => { const s = document.getElementById(id); const o = [...s.options].find(o => o.text.startsWith(text)); s.value = o.value; s.dispatchEvent(new Event("change")); return o.text; })`
	if got := browsertest.Value[string](p, choose+`("verdict", "lost")`); got != "lost (412)" {
		t.Errorf("the choice reads %q", got)
	}
	p.Wait(shown + ` === "1 to 100 of 412 that match; 100,000 in all"`)
	p.Click("#following")
	p.Wait(shown + ` === "101 to 200 of 412 that match; 100,000 in all"`)
	browsertest.Value[string](p, choose+`("queue", "invoices")`)
	p.Wait(shown + ` === "4 that match; 100,000 in all"`)
	browsertest.Value[string](p, choose+`("queue", "all")`)
	browsertest.Value[string](p, choose+`("verdict", "all")`)
	browsertest.Value[string](p, choose+`("outcome", "held")`)
	p.Wait(shown + ` === "3 that match; 100,000 in all"`)
	browsertest.Value[string](p, choose+`("outcome", "all")`)
	p.Click("#table thead th:first-child button")
	p.Wait(`document.querySelector("#table tbody .id").textContent === "invoices-finished-lost-0000"`)
	p.Click("#table thead th:first-child button")
	p.Wait(`document.querySelector("#table tbody .id").textContent === "thumbnails-queued-expired-0006"`)
	p.Click(".bars .queue a")
	p.Wait(shown + `.includes("of 323 that match")`)
}

func TestThePageFitsAPhone(t *testing.T) {
	t.Parallel()
	for _, kind := range []report.Kind{report.Diff, report.Applied, report.Drilled} {
		d := outage(kind)
		long := strings.Repeat("a-name-without-end-", 12)
		d.Jobs = append(d.Jobs, report.Job{ID: long, Queue: long, Status: "queued", Verdict: verify.Lost, Action: verify.Restore, Reason: long, Evidence: []string{long}})
		d.Decide = append(d.Decide, report.Choice{Title: long, Names: []string{long}, Count: 1, Command: long})
		d.Command, d.Warning, d.Source = long, long, long
		d.Lineage.Reasons = append(d.Lineage.Reasons, long)
		if kind == report.Drilled {
			d.Drill = &report.Drill{Into: long, Took: []report.Took{{What: long, Seconds: 2}}, Different: 2, Differs: []report.Difference{{What: long, Why: long}}}
		}
		p := browsertest.Open(t, save(t, d), true)
		for _, width := range []int64{320, 390, 820, 1280} {
			p.Width(width)
			if n := browsertest.Value[int](p, overflow); n > 0 {
				t.Errorf("%s, %d pixels wide: %d do not fit", kind, width, n)
			}
		}
	}
}

func TestHostileNamesRunNothing(t *testing.T) {
	t.Parallel()
	d := outage(report.Applied)
	for _, name := range hostile {
		d.Jobs = append(d.Jobs, report.Job{ID: name, Queue: name, Status: name, Verdict: verify.Lost, Action: verify.Hold, Result: "held", Reason: name, Evidence: []string{name}})
	}
	p := browsertest.Open(t, save(t, d), true)
	p.Type("#search", "alert(1)</script>")
	p.Wait(countRows + " === 1")
	if got := browsertest.Value[string](p, `document.querySelector("#table tbody .id").textContent`); got != hostile[0] {
		t.Errorf("the row is %q, want %q", got, hostile[0])
	}
	if n := browsertest.Value[int](p, `document.querySelectorAll("img, script").length`); n != 2 {
		t.Errorf("%d scripts and pictures, want the page's own two", n)
	}
}

func TestThePageSpeaksWithoutJavaScript(t *testing.T) {
	t.Parallel()
	p := browsertest.Open(t, save(t, outage(report.Applied)), false)
	text := browsertest.Value[string](p, `document.body.innerText`)
	for _, want := range []string{"Redis came back empty at 06:12:04 UTC.", "all 412 are back", "280 lost, 2 misplaced", "is in no snapshot", "rqvault diff 20261123T060000.120Z-4f2a9c01", "These are the first 100 of 465"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if n := browsertest.Value[int](p, countRows); n != 100 {
		t.Errorf("%d rows, want 100", n)
	}
	if browsertest.Value[bool](p, `document.getElementById("search").checkVisibility()`) {
		t.Error("there is a search that finds nothing")
	}
}
