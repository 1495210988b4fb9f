package alarm_test

import (
	"encoding/json"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"rqvault/internal/alarm"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// wrong is a source of which everything is wrong.
func wrong() alarm.Facts {
	failing := alarm.Task{Limit: time.Hour, Success: noon.Add(-3 * time.Hour), Failed: 3, Failure: noon.Add(-time.Hour), Reason: "no_space"}
	return alarm.Facts{
		Source: "main", Backup: failing, Verify: failing, Drill: failing, Prune: failing,
		Frozen: noon.Add(-time.Minute), FrozenWhy: "FLUSHALL",
		Lost: 7, Uncertain: 1, Breaches: 2,
		RedisDown: noon.Add(-5 * time.Minute), StoreDown: noon.Add(-6 * time.Minute), LeaseMoves: 5,
	}
}

func names(alarms []alarm.Alarm) []alarm.Name {
	var names []alarm.Name
	for _, a := range alarms {
		names = append(names, a.Name)
	}
	return names
}

func TestEveryAlarmCanBeRaised(t *testing.T) {
	alarms := alarm.Judge(wrong(), alarm.Limits{}, noon)
	if got := names(alarms); !slices.Equal(got, alarm.Names()) {
		t.Errorf("got %v, want all of %v", got, alarm.Names())
	}
	for _, a := range alarms {
		if a.Source != "main" || a.Severity != a.Name.Severity() || a.Summary == "" || a.Runbook != "docs/runbook.md#"+string(a.Name) {
			t.Errorf("%s is not whole: %+v", a.Name, a)
		}
		if !strings.HasPrefix(a.Next, "rqvault ") || strings.Contains(a.Next+a.Summary, "$") || strings.Contains(a.Summary, "%!") {
			t.Errorf("%s: next %q, summary %q", a.Name, a.Next, a.Summary)
		}
	}
}

func TestWhenAnAlarmHolds(t *testing.T) {
	ago := func(d time.Duration) time.Time { return noon.Add(-d) }
	cases := []struct {
		name  string
		facts alarm.Facts
		want  []alarm.Name
	}{
		{"nothing is known", alarm.Facts{}, nil},
		{"all is well", alarm.Facts{Backup: alarm.Task{Limit: time.Hour, Success: ago(time.Hour)}}, nil},
		{"a second too late", alarm.Facts{Backup: alarm.Task{Limit: time.Hour, Success: ago(time.Hour + time.Second)}}, []alarm.Name{alarm.BackupLate}},
		{"not scheduled", alarm.Facts{Backup: alarm.Task{Success: ago(1000 * time.Hour)}}, nil},
		{"never, and the time has not come", alarm.Facts{Drill: alarm.Task{Limit: time.Hour, From: ago(time.Minute)}}, nil},
		{"never, and the time is over", alarm.Facts{Drill: alarm.Task{Limit: time.Hour, From: ago(2 * time.Hour)}}, []alarm.Name{alarm.DrillLate}},
		{"never, and since when is not known", alarm.Facts{Verify: alarm.Task{Limit: time.Hour}}, nil},
		{"a backup failed once", alarm.Facts{Backup: alarm.Task{Failed: 1}}, nil},
		{"a backup failed twice", alarm.Facts{Backup: alarm.Task{Failed: 2}}, []alarm.Name{alarm.BackupFailed}},
		{"a verify failed once", alarm.Facts{Verify: alarm.Task{Failed: 1, Reason: "store_unreachable"}}, nil},
		{"a verify found damage once", alarm.Facts{Verify: alarm.Task{Failed: 1, Reason: "damaged"}}, []alarm.Name{alarm.VerifyFailed}},
		{"a drill found differences once", alarm.Facts{Drill: alarm.Task{Failed: 1, Reason: "differences"}}, []alarm.Name{alarm.DrillFailed}},
		{"a backup failed since Redis is down", alarm.Facts{Backup: alarm.Task{Failed: 9, Reason: "redis_unreachable"}, RedisDown: ago(time.Hour)}, []alarm.Name{alarm.RedisDown}},
		{"the same for a moment", alarm.Facts{Backup: alarm.Task{Failed: 2, Reason: "store_unreachable"}, StoreDown: ago(time.Second)}, nil},
		{"another reason while Redis is down", alarm.Facts{Backup: alarm.Task{Failed: 2, Reason: "no_space"}, RedisDown: ago(time.Second)}, []alarm.Name{alarm.BackupFailed}},
		{"Redis is back, and a backup has yet to succeed", alarm.Facts{Backup: alarm.Task{Failed: 2, Reason: "redis_unreachable"}}, []alarm.Name{alarm.BackupFailed}},
		{"damage long ago", alarm.Facts{Verify: alarm.Task{Reason: "damaged"}}, nil},
		{"a moment's silence", alarm.Facts{RedisDown: ago(119 * time.Second), StoreDown: ago(time.Second)}, nil},
		{"two minutes of it", alarm.Facts{RedisDown: ago(2 * time.Minute)}, []alarm.Name{alarm.RedisDown}},
		{"the leader changed", alarm.Facts{LeaseMoves: 3}, nil},
		{"jobs", alarm.Facts{Lost: 1, Uncertain: 1}, []alarm.Name{alarm.JobsLost, alarm.JobsUncertain}},
	}
	for _, c := range cases {
		if got := names(alarm.Judge(c.facts, alarm.Limits{}, noon)); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

func TestASourcesNameIsOneWordOfTheCommand(t *testing.T) {
	f := alarm.Facts{Source: "a b'; rm -rf /", Lost: 1}
	got := alarm.Judge(f, alarm.Limits{}, noon)[0].Next
	if want := `rqvault diff --source 'a b'\''; rm -rf /'`; !strings.HasPrefix(got, want) {
		t.Errorf("got %s, want it to begin with %s", got, want)
	}
}

func TestSeverityIsText(t *testing.T) {
	for _, s := range []alarm.Severity{alarm.Warning, alarm.Critical} {
		text, err := s.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var back alarm.Severity
		if err := back.UnmarshalText(text); err != nil || back != s {
			t.Errorf("%s became %s, %v", s, back, err)
		}
	}
	var s alarm.Severity
	if _, err := s.MarshalText(); err == nil {
		t.Error("no severity at all was written as one")
	}
	if err := s.UnmarshalText([]byte("urgent")); err == nil {
		t.Error("an unknown severity was read")
	}
}

// step is one look at the alarms and what people have to hear then.
type step struct {
	after time.Duration
	holds []alarm.Alarm
	want  []string // state and name
}

func TestWhatPeopleHear(t *testing.T) {
	lost := alarm.Alarm{Name: alarm.JobsLost, Source: "main", Severity: alarm.Warning}
	worse := lost
	worse.Severity = alarm.Critical
	other := lost
	other.Source = "other"
	h := time.Hour
	cases := map[string][]step{
		"once, again after hours, and that it is over": {
			{0, []alarm.Alarm{lost}, []string{"firing jobs-lost"}},
			{time.Minute, []alarm.Alarm{lost}, nil},
			{4*h - 2*time.Minute, []alarm.Alarm{lost}, nil},
			{time.Minute, []alarm.Alarm{lost}, []string{"repeated jobs-lost"}},
			{time.Minute, nil, nil},
			{4 * time.Minute, nil, nil},
			{time.Minute, nil, []string{"resolved jobs-lost"}},
			{h, nil, nil},
			{h, []alarm.Alarm{lost}, []string{"firing jobs-lost"}},
		},
		"what comes and goes makes no noise": {
			{0, []alarm.Alarm{lost}, []string{"firing jobs-lost"}},
			{time.Minute, nil, nil},
			{time.Minute, []alarm.Alarm{lost}, nil},
			{time.Minute, nil, nil},
			{4 * time.Minute, nil, nil},
			{time.Minute, []alarm.Alarm{lost}, nil},
		},
		"worse is told at once, milder is not": {
			{0, []alarm.Alarm{lost}, []string{"firing jobs-lost"}},
			{time.Minute, []alarm.Alarm{worse}, []string{"firing jobs-lost"}},
			{time.Minute, []alarm.Alarm{lost}, nil},
			{time.Minute, []alarm.Alarm{worse}, nil},
		},
		"each source for itself, and none twice": {
			{0, []alarm.Alarm{other, lost, other}, []string{"firing jobs-lost", "firing jobs-lost"}},
			{time.Minute, []alarm.Alarm{other}, nil},
			{5 * time.Minute, []alarm.Alarm{other}, []string{"resolved jobs-lost"}},
		},
		"a clock that was set back": {
			{0, []alarm.Alarm{lost}, []string{"firing jobs-lost"}},
			{-1000 * h, []alarm.Alarm{lost}, []string{"repeated jobs-lost"}},
			{time.Minute, []alarm.Alarm{lost}, nil},
		},
	}
	for name, steps := range cases {
		var book alarm.Book
		now := noon
		for i, s := range steps {
			now = now.Add(s.after)
			before := toJSON(t, book)
			next, notices := book.Turn(now, s.holds, alarm.Policy{})
			if after := toJSON(t, book); after != before {
				t.Fatalf("%s: step %d changed the old book", name, i)
			}
			var got []string
			for _, n := range notices {
				got = append(got, string(n.State)+" "+string(n.Alarm.Name))
			}
			if !slices.Equal(got, s.want) {
				t.Errorf("%s: step %d told %v, want %v", name, i, got, s.want)
			}
			book = reread(t, next)
		}
	}
}

func TestSinceStaysAndIDsDiffer(t *testing.T) {
	a := alarm.Alarm{Name: alarm.JobsLost, Source: "main", Severity: alarm.Critical}
	var book alarm.Book
	ids := map[string]bool{}
	for i := range 5 {
		var notices []alarm.Notice
		book, notices = book.Turn(noon.Add(time.Duration(i)*4*time.Hour), []alarm.Alarm{a}, alarm.Policy{})
		if len(notices) != 1 || !notices[0].Alarm.Since.Equal(noon) {
			t.Fatalf("turn %d: %+v, want one since %s", i, notices, noon)
		}
		id, again := notices[0].ID(), notices[0].ID()
		if ids[id] || again != id {
			t.Errorf("turn %d: the id is not its own, or changes", i)
		}
		ids[id] = true
	}
	if got := book.Active(); len(got) != 1 || got[0].Name != alarm.JobsLost {
		t.Errorf("active: %v", got)
	}
	book, _ = book.Turn(noon.Add(24*time.Hour), nil, alarm.Policy{})
	if got := book.Active(); len(got) != 0 {
		t.Errorf("gone, and still active: %v", got)
	}
}

func toJSON(t testing.TB, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// reread sends a book through its JSON, as a restart does.
func reread(t testing.TB, b alarm.Book) alarm.Book {
	t.Helper()
	var back alarm.Book
	if err := json.Unmarshal([]byte(toJSON(t, b)), &back); err != nil {
		t.Fatal(err)
	}
	if toJSON(t, back) != toJSON(t, b) || len(b.Entries) > 0 && reflect.DeepEqual(back, alarm.Book{}) {
		t.Fatalf("a book does not survive its JSON: %s", toJSON(t, b))
	}
	return back
}

func TestTheTableOfAlarmsIsTrue(t *testing.T) {
	text, err := os.ReadFile("../../docs/alarms.md")
	if err != nil {
		t.Fatal(err)
	}
	var listed []alarm.Name
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\| (warning|critical) \\|").FindAllStringSubmatch(string(text), -1) {
		name := alarm.Name(row[1])
		listed = append(listed, name)
		if got := name.Severity().String(); got != row[2] {
			t.Errorf("%s is %q, the table says %s", name, got, row[2])
		}
	}
	slices.Sort(listed)
	if !slices.Equal(listed, alarm.Names()) {
		t.Errorf("the table lists %v, there are %v", listed, alarm.Names())
	}
}
