package report_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"rqvault/internal/lineage"
	"rqvault/internal/report"
	"rqvault/verify"
)

// at is an instant of the tests' day.
func at(clock string) time.Time {
	t, err := time.Parse(time.DateTime, "2026-11-23 "+clock)
	if err != nil {
		panic(err)
	}
	return t
}

// outage is what a restore found after Redis came back empty: a few queues, of which each
// verdict is there.
func outage(kind report.Kind) *report.Data {
	d := &report.Data{
		Kind: kind, Source: "default", Version: "0.1", MadeAt: at("06:40:20"), Command: "rqvault restore --apply --report incident.html",
		Snapshot: report.Snapshot{ID: "20261123T060000.120Z-4f2a9c01", Taken: at("06:00:00"), Via: "sync", Atomic: true, Jobs: 9310, Keys: 12044},
		Lineage: lineage.Judgement{Mode: lineage.Older, Empty: true, StartedAt: at("06:12:04"),
			Reasons: []string{"this is another Redis process than at the snapshot (run id now d836f1f1…, at the snapshot fe74647c…)", "it started without loading any key"}},
		Then: lineage.Facts{Server: "redis", Version: "7.0.15", RunID: "fe74647cf1b2a3d4e5f6", UptimeSeconds: 3_456_000, ServerTime: at("06:00:00"),
			Keyspace: []lineage.DBFacts{{DB: 0, Keys: 12044}}},
		Now: lineage.Facts{Server: "redis", Version: "7.0.15", RunID: "d836f1f1a2b3c4d5e6f7", UptimeSeconds: 1676, ServerTime: at("06:40:00"),
			Keyspace: []lineage.DBFacts{{DB: 0, Keys: 31}}},
		Compared: at("06:40:00"), Policy: "at-least-once",
		Counts: map[verify.Verdict]int{}, Intact: map[verify.Queue]int{{Name: "mail"}: 6200, {Name: "reports"}: 1400, {Name: "thumbnails"}: 1288},
		Meanings: map[verify.Verdict]string{},
	}
	for _, v := range verify.Verdicts {
		d.Meanings[v] = "what " + string(v) + " means"
	}
	d.Counts[verify.Intact] = 8888
	add := func(n int, queue, status string, v verify.Verdict, a verify.Action, result, reason string) {
		if kind != report.Applied {
			result = ""
		}
		for i := range n {
			d.Jobs = append(d.Jobs, report.Job{ID: fmt.Sprintf("%s-%s-%s-%04d", queue, status, v, i), Queue: queue, Status: status, Verdict: v, Action: a, Result: result, Reason: reason})
		}
		d.Counts[v] += n
	}
	add(280, "mail", "queued", verify.Lost, verify.Restore, "restored", "gone, and nothing says that it ended")
	add(128, "reports", "deferred", verify.Lost, verify.Restore, "restored", "gone, and nothing says that it ended")
	add(4, "invoices", "finished", verify.Lost, verify.Restore, "restored", "its record is gone; it comes back as a record and does not run")
	add(3, "invoices", "started", verify.InFlight, verify.Hold, "held", "it was running at the snapshot; if no worker has shown itself by 2026-11-23T06:45:04Z, its run is dead: compare again then")
	add(2, "mail", "queued", verify.Misplaced, verify.Place, "repaired", "queued, but in no list: no worker would ever take it")
	add(7, "thumbnails", "queued", verify.Expired, verify.None, "", "its own expiry passed 2026-11-23T06:20:00Z")
	add(41, "mail", "queued", verify.New, verify.None, "", "only the live server has it")
	d.Jobs[0].Evidence = []string{"no hash, no place and no result of it is in live", "Redis came back without any key"}
	if kind == report.Applied {
		d.Restored = report.Span{From: at("06:40:02"), To: at("06:40:19")}
	}
	d.Decide = []report.Choice{{Title: "jobs of queue invoices may still be running", Why: "Wait until their runs are over for sure, then compare again.",
		Names: []string{"invoices-started-in_flight-0000", "invoices-started-in_flight-0001", "invoices-started-in_flight-0002"}, Count: 3, Command: "rqvault diff 20261123T060000.120Z-4f2a9c01"}}
	d.Next = []report.Choice{{Title: "See that nothing is missing", Command: "rqvault diff 20261123T060000.120Z-4f2a9c01"}}
	return d
}

func write(t testing.TB, d *report.Data) string {
	t.Helper()
	var b strings.Builder
	if err := report.Write(&b, d); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestTheHeadlineSaysItAll(t *testing.T) {
	t.Parallel()
	older := lineage.Judgement{Mode: lineage.Older, StartedAt: at("06:12:04")}
	loaded := older
	loaded.LoadedUntil = at("05:31:10")
	for _, c := range []struct {
		name, want string
		kind       report.Kind
		change     func(d *report.Data)
	}{
		{"all is back", "Redis came back empty at 06:12:04 UTC. 412 of 9,312 jobs were lost; all 412 are back, 2 were repaired, 3 wait for your decision.", report.Applied, nil},
		{"nothing is done yet", "Redis came back empty at 06:12:04 UTC. 412 of 9,312 jobs are lost; all can be put back, 2 can be repaired, 3 wait for your decision. Nothing has been changed yet.", report.Diff, nil},
		{"it was refused", "Redis came back empty at 06:12:04 UTC. 412 of 9,312 jobs were lost; 411 are back, 2 were repaired, 1 could not be written, 3 wait for your decision.", report.Applied,
			func(d *report.Data) { d.Jobs[0].Result = "failed" }},
		{"it was stopped", "Redis came back empty at 06:12:04 UTC. 412 of 9,312 jobs were lost; 410 are back, 2 were repaired, 2 were not reached, 3 wait for your decision.", report.Applied,
			func(d *report.Data) { d.Jobs[0].Result, d.Jobs[1].Result = "", "" }},
		{"it came back with older data", "Redis came back at 06:12:04 UTC with data from 05:31:10 UTC. Nothing is missing of 8,888 jobs.", report.Diff,
			func(d *report.Data) {
				d.Lineage, d.Jobs, d.Counts = loaded, nil, map[verify.Verdict]int{verify.Intact: 8888, verify.New: 7}
			}},
		{"nothing tells what it came back with", "Redis came back at 06:12:04 UTC without its newest data. None of 1 job is lost; 1 waits for your decision. Nothing has been changed yet.", report.Dry,
			func(d *report.Data) {
				d.Lineage, d.Counts = older, map[verify.Verdict]int{verify.InFlight: 1}
				d.Jobs = []report.Job{{ID: "a", Verdict: verify.InFlight, Action: verify.Hold}}
			}},
		{"a run that was dead", "Redis came back empty at 06:12:04 UTC. 1 of 1 job was lost; it is back, 1 was repaired.", report.Applied,
			func(d *report.Data) {
				d.Counts = map[verify.Verdict]int{verify.Uncertain: 1}
				d.Jobs = []report.Job{{ID: "a", Verdict: verify.Uncertain, Action: verify.Requeue, Result: "restored"}, {ID: "b", Verdict: verify.Misplaced, Action: verify.Requeue, Result: "restored"}}
			}},
		{"a flush", "Redis was emptied, or its data replaced, after the snapshot of 06:00:00 UTC on 22 Nov. 412 of", report.Diff,
			func(d *report.Data) {
				d.Lineage, d.Snapshot.Taken = lineage.Judgement{Mode: lineage.Vanished, Flushed: true}, at("06:00:00").AddDate(0, 0, -1)
			}},
		{"a drill", "The snapshot of 06:00:00 UTC can be restored in 10.2 s: 9,310 jobs and 12,044 keys came back, and nothing differs.", report.Drilled,
			func(d *report.Data) {
				d.Drill = &report.Drill{Recovery: 10.2, Took: []report.Took{{What: "load", Seconds: 10.2}, {What: "compare", Seconds: 3.5}}, Jobs: 9310, Keys: 12044}
			}},
		{"a drill that failed", "The snapshot of 06:00:00 UTC does not come back as it was: of 1 job and 2 keys, 1 differs.", report.Drilled,
			func(d *report.Data) {
				d.Drill = &report.Drill{Jobs: 1, Keys: 2, Different: 1, Differs: []report.Difference{{What: "rq:job:a", Why: "its expiry"}}}
			}},
	} {
		d := outage(c.kind)
		if c.change != nil {
			c.change(d)
		}
		page := write(t, d)
		_, rest, _ := strings.Cut(page, "<h1>")
		h1, _, _ := strings.Cut(rest, "</h1>")
		if got := tag.ReplaceAllString(h1, ""); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

var tag = regexp.MustCompile(`<[^>]*>`)

// carried is what the page carries for its script.
type carried struct {
	Rows  [][]any
	Words []string
}

func rowsOf(t testing.TB, page string) carried {
	t.Helper()
	_, rest, found := strings.Cut(page, `<script type="application/json" id="rows">`)
	text, _, closed := strings.Cut(rest, "</script>")
	var c carried
	if err := json.Unmarshal([]byte(text), &c); err != nil || !found || !closed {
		t.Fatalf("the rows are no JSON: %v", err)
	}
	return c
}

// hostile are names that try to be something else.
var hostile = []string{
	`</script><script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `<!--<script>`, `' onmouseover='alert(1)`, `{{.Source}}`, "`${alert(1)}`",
	"a\xff\xfe", "line\nbreak\ttab\x00nul\x1b[31m", "\u202egnp.exe", "\u2028\u2029", "&lt;b&gt;", "\\u003c/script\\u003e", strings.Repeat("x", 1<<16),
}

func TestNoNameEscapesFromThePage(t *testing.T) {
	t.Parallel()
	plain, d := outage(report.Applied), outage(report.Applied)
	for _, name := range hostile {
		d.Jobs = append(d.Jobs, report.Job{ID: name, Queue: name, Status: name, Verdict: verify.Lost, Action: verify.Hold, Result: "held", Reason: name, Evidence: []string{name}})
		d.Decide = append(d.Decide, report.Choice{Title: name, Why: name, Names: []string{name}, Count: 1, Command: name})
		d.Lineage.Reasons = append(d.Lineage.Reasons, name)
		d.Source, d.Command, d.Warning, d.Policy = name, name, name, name
		d.Then.Server, d.Now.Version = name, name
		page := write(t, d)
		for _, mark := range []string{"<script", "</script", "<img", "<style", "<!--", "<meta"} {
			if got, want := strings.Count(page, mark), strings.Count(write(t, plain), mark); got != want {
				t.Errorf("%.40q: %d times %s in the page, want %d", name, got, mark, want)
			}
		}
		if i := strings.IndexFunc(page, func(r rune) bool {
			return r == utf8.RuneError || r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029')
		}); i >= 0 {
			t.Errorf("%.40q: the page holds %q", name, page[i:i+8])
		}
	}
	rows := rowsOf(t, write(t, d))
	if len(rows.Rows) != len(d.Jobs) {
		t.Errorf("%d rows, want %d", len(rows.Rows), len(d.Jobs))
	}
	for _, want := range []string{`</script><script>alert(1)</script>`, "a⟨ff⟩⟨fe⟩", "line⟨U+000A⟩break⟨U+0009⟩tab⟨U+0000⟩nul⟨U+001B⟩[31m", "⟨U+202E⟩gnp.exe", "⟨U+2028⟩⟨U+2029⟩"} {
		if !slices.ContainsFunc(rows.Rows, func(r []any) bool { return r[0] == want }) {
			t.Errorf("no row shows %q", want)
		}
	}
}

func TestTheBrowserIsToldToRunNothingElse(t *testing.T) {
	t.Parallel()
	page := write(t, outage(report.Diff))
	csp := html.UnescapeString(regexp.MustCompile(`Content-Security-Policy" content="([^"]*)"`).FindStringSubmatch(page)[1])
	for kind, text := range map[string]string{"style-src": between(page, "<style>", "</style>"), "script-src": between(page, "<script>", "</script>")} {
		sum := sha256.Sum256([]byte(text))
		if want := kind + " 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; text == "" || !strings.Contains(csp, want) {
			t.Errorf("the policy is %q, want it to hold %s", csp, want)
		}
	}
	if !strings.HasPrefix(csp, "default-src 'none'; ") || strings.Contains(csp, "unsafe") {
		t.Errorf("the policy is %q, want nothing allowed but the page's own", csp)
	}
	for _, mark := range []string{" style=", "http:", "https:", " src=", "@import", "url(h", "javascript:", " onclick"} {
		if strings.Contains(page, mark) {
			t.Errorf("the page holds %q", mark)
		}
	}
}

func between(text, from, to string) string {
	_, rest, _ := strings.Cut(text, from)
	inner, _, _ := strings.Cut(rest, to)
	return inner
}

func TestThePictureAddsUp(t *testing.T) {
	t.Parallel()
	d := outage(report.Diff)
	for i := range 40 {
		d.Intact[verify.Queue{DB: 1, Name: fmt.Sprintf("small-%02d", i)}] = 1
	}
	page := write(t, d)
	bars := regexp.MustCompile(`(?s)<svg class="bar".*?</svg>`).FindAllString(page, -1)
	if len(bars) != 25 {
		t.Errorf("%d bars, want 24 and one for the rest", len(bars))
	}
	total := 0
	for _, bar := range bars {
		end := 0.0
		for _, m := range regexp.MustCompile(`x="([\d.]+)" width="([\d.]+)"`).FindAllStringSubmatch(bar, -1) {
			x, errX := strconv.ParseFloat(m[1], 64)
			w, errW := strconv.ParseFloat(m[2], 64)
			if errX != nil || errW != nil || math.Abs(x-end) > .2 || w < 5.9 || x+w > 1000.1 {
				t.Errorf("a piece from %s, %s wide, in\n%s", m[1], m[2], bar)
			}
			end = x + w
		}
		for _, m := range regexp.MustCompile(`<title>([\d,]+) `).FindAllStringSubmatch(bar, -1) {
			n, err := strconv.Atoi(strings.ReplaceAll(m[1], ",", ""))
			if err != nil {
				t.Fatal(err)
			}
			total += n
		}
	}
	want := len(d.Jobs)
	for _, n := range d.Intact {
		want += n
	}
	if total != want {
		t.Errorf("the bars show %d jobs, want %d", total, want)
	}
	if !strings.Contains(page, `aria-label="mail: 280 lost, 2 misplaced, 41 new, 6,200 intact"`) || !strings.Contains(page, "<bdi>21 more queues</bdi>") && !strings.Contains(page, "<bdi>20 more queues</bdi>") {
		t.Error("the picture is not in words too")
	}
}

func TestTheTimeInNoSnapshotIsShown(t *testing.T) {
	t.Parallel()
	day := "2026-11-23 "
	for _, c := range []struct {
		name    string
		lineage lineage.Judgement
		text    string
		gaps    int
	}{
		{"an empty restart", lineage.Judgement{Mode: lineage.Older, Empty: true, StartedAt: at("06:12:04")},
			day + "06:00:00 UTC: Snapshot taken, then " + day + "06:12:04 UTC: Redis started again, then " + day + "06:40:00 UTC: Compared with the snapshot, then " + day + "06:40:19 UTC: Restore ended. What happened in this time (12 min 4 s) is in no snapshot", 1},
		{"older data", lineage.Judgement{Mode: lineage.Older, StartedAt: at("06:12:04"), LoadedUntil: at("05:31:10")},
			day + "05:31:10 UTC: Newest data that Redis came back with, then " + day + "06:00:00 UTC: Snapshot taken, then", 1},
		{"a flush", lineage.Judgement{Mode: lineage.Vanished, Flushed: true, StartedAt: at("05:00:00")},
			day + "06:00:00 UTC: Snapshot taken, then " + day + "06:40:00 UTC: Compared with the snapshot", 1},
		{"no loss", lineage.Judgement{Mode: lineage.Complete, StartedAt: at("05:00:00")},
			day + "06:00:00 UTC: Snapshot taken, then " + day + "06:40:00 UTC: Compared with the snapshot", 0},
	} {
		d := outage(report.Applied)
		d.Lineage = c.lineage
		page := write(t, d)
		if got := between(page, `<svg class="line" role="img" aria-label="`, `"`); !strings.HasPrefix(got, c.text) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.text)
		}
		if got := strings.Count(page, `class="gap"`); got != c.gaps {
			t.Errorf("%s: %d stretches in no snapshot, want %d", c.name, got, c.gaps)
		}
	}
}

func TestAPageOfMillionsSaysHowManyItCarries(t *testing.T) {
	t.Parallel()
	d := outage(report.Diff)
	held := report.Job{ID: "the held one", Queue: "q", Verdict: verify.Uncertain, Action: verify.Hold, Reason: "held"}
	for range 200_000 {
		d.Jobs = append(d.Jobs, report.Job{ID: "ended", Queue: "q", Verdict: verify.Completed, Action: verify.None, Reason: "ended"})
	}
	d.Jobs = append(d.Jobs, held)
	page := write(t, d)
	rows := rowsOf(t, page)
	if len(rows.Rows) != 200_000 || !strings.Contains(page, "This page carries 200,000 of 200,466; <code>--json</code> lists all.") {
		t.Errorf("%d rows, and the page does not say so", len(rows.Rows))
	}
	if !slices.ContainsFunc(rows.Rows[:10], func(r []any) bool { return r[0] == held.ID }) {
		t.Error("what needs a person is not at the top")
	}
	if len(page) > 6<<20 {
		t.Errorf("the page has %d bytes: what repeats must not", len(page))
	}
}

func TestWhatCannotBeWrittenIsToldOf(t *testing.T) {
	t.Parallel()
	page := write(t, outage(report.Applied))
	full := errors.New("full")
	for n := 0; n < len(page); n += 4099 {
		if err := report.Write(&limited{left: n, err: full}, outage(report.Applied)); !errors.Is(err, full) {
			t.Fatalf("room for %d bytes: got %v, want %v", n, err, full)
		}
	}
}

// limited is a writer with little room.
type limited struct {
	left int
	err  error
}

func (l *limited) Write(b []byte) (int, error) {
	if len(b) > l.left {
		return 0, l.err
	}
	l.left -= len(b)
	return len(b), nil
}
