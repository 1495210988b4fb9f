package watch_test

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	client "github.com/prometheus/client_golang/prometheus"

	"rqvault/internal/alarm"
	"rqvault/internal/watch"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// daemon says everything that a daemon can say, as one with two sources would at that time.
func daemon(now time.Time) *watch.Metrics {
	m := watch.New("1.2.3")
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	m.ConfigReloaded(true, ago(48*time.Hour))
	m.Lease("main", true, 3)
	m.Store("s3", true)
	for _, source := range []string{"main", "billing"} {
		for task, every := range map[watch.Task]time.Duration{watch.Backup: 10 * time.Minute, watch.Verify: 24 * time.Hour, watch.Drill: 7 * 24 * time.Hour, watch.Prune: time.Hour} {
			m.Expect(source, task, 2*every, ago(48*time.Hour))
			m.RunStarted(source, task, ago(3*time.Minute))
			m.RunEnded(watch.Run{Source: source, Task: task, Started: ago(3 * time.Minute), Ended: ago(2 * time.Minute),
				Phases: []watch.Phase{{"dump", 20 * time.Second, 1 << 30}, {"index", 15 * time.Second, 1 << 20}, {"upload", 25 * time.Second, 1 << 28}}})
			m.NextRun(source, task, now.Add(every))
		}
		m.RunEnded(watch.Run{Source: source, Task: watch.Backup, Started: ago(90 * time.Second), Ended: ago(80 * time.Second), Reason: watch.StoreUnreachable})
		m.RunStarted(source, watch.Fsck, ago(time.Minute))
		m.Snapshot(watch.Snapshot{Source: source, CreatedAt: ago(9 * time.Minute), Keys: 73_000, DumpBytes: 1 << 30, StoredBytes: 1 << 28,
			Jobs: map[string]map[string]int64{"mail": {"queued": 900, "finished": 30_000}, "report": {"queued": 12, "failed": 3}}})
		m.Stored(source, 61, 1<<34)
		m.Verified(source, ago(3*time.Hour), true)
		m.Drilled(source, ago(50*time.Hour), 41*time.Second, true)
		m.Diff(source, map[string]int64{"intact": 30_000, "lost": 2, "uncertain": 0})
		m.Fsck(source, map[string]int64{"critical": 0, "high": 0, "medium": 1, "low": 12})
		m.Frozen(source, false)
		m.Live(watch.Live{Source: source, Up: true, Workers: 8, Queues: []watch.Queue{{"mail", 912, ago(40 * time.Second)}, {"report", 0, time.Time{}}}})
	}
	m.Alarms([]string{"main", "billing"}, []alarm.Alarm{{Name: alarm.JobsLost, Source: "main", Severity: alarm.Critical}})
	m.Message("chat", watch.Sent, ago(time.Hour))
	m.Message("chat", watch.Failed, ago(time.Hour))
	return m
}

// scrape returns what /metrics answers.
func scrape(t testing.TB, m *watch.Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	watch.Handler(m, watch.NewHealth(time.Now, 0)).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	text, err := io.ReadAll(w.Result().Body)
	if err != nil || w.Code != http.StatusOK {
		t.Fatalf("status %d, %v: %s", w.Code, err, text)
	}
	return string(text)
}

// ours keeps the lines of our own metrics, in their order.
func ours(text string) []string {
	var lines []string
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "rqvault_") {
			lines = append(lines, strings.TrimSuffix(line, "\n"))
		}
	}
	return lines
}

// holds fails the test unless each line is there.
func holds(t testing.TB, m *watch.Metrics, want ...string) {
	t.Helper()
	lines := ours(scrape(t, m))
	for _, line := range want {
		if !slices.Contains(lines, line) {
			name, _, _ := strings.Cut(line, "{")
			near := slices.DeleteFunc(slices.Clone(lines), func(l string) bool { return !strings.HasPrefix(l, name) })
			t.Errorf("%s is not there, but\n%s", line, strings.Join(near, "\n"))
		}
	}
}

// lacks fails the test if any line begins so.
func lacks(t testing.TB, m *watch.Metrics, prefixes ...string) {
	t.Helper()
	for _, line := range ours(scrape(t, m)) {
		for _, prefix := range prefixes {
			if strings.HasPrefix(line, prefix) {
				t.Errorf("%s is there", line)
			}
		}
	}
}

var (
	typeLine = regexp.MustCompile(`(?m)^# TYPE (rqvault_\w+) (\w+)$`)
	docRow   = regexp.MustCompile("(?m)^\\| `(rqvault_\\w+)` \\| (gauge|counter) \\| ([^|]*) \\| ([^|]+) \\|$")
	label    = regexp.MustCompile(`(\w+)="`)
	backtick = regexp.MustCompile("`(\\w+)`")
)

// The table of docs/metrics.md has every metric with its type, labels and meaning, and none
// that does not exist.
func TestTheTableOfMetricsIsTrue(t *testing.T) {
	doc, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	text := scrape(t, daemon(noon))
	got := map[string]string{}
	for _, line := range typeLine.FindAllStringSubmatch(text, -1) {
		got[line[1]] = line[2]
	}
	for _, line := range ours(text) {
		name, rest, _ := strings.Cut(line, "{")
		name, _, _ = strings.Cut(name, " ")
		var labels []string
		for _, l := range label.FindAllStringSubmatch(rest, -1) {
			labels = append(labels, l[1])
		}
		slices.Sort(labels)
		kind, _, _ := strings.Cut(got[name], " ")
		got[name] = strings.TrimSpace(kind + " " + strings.Join(labels, " "))
	}
	listed := map[string]string{}
	for _, row := range docRow.FindAllStringSubmatch(string(doc), -1) {
		var labels []string
		for _, l := range backtick.FindAllStringSubmatch(row[3], -1) {
			labels = append(labels, l[1])
		}
		slices.Sort(labels)
		listed[row[1]] = strings.TrimSpace(row[2] + " " + strings.Join(labels, " "))
	}
	if len(listed) < 40 || !maps.Equal(got, listed) {
		t.Errorf("in the code:\n%s\nin the table:\n%s", lined(got), lined(listed))
	}
	for _, name := range described(daemon(noon)) {
		if listed[name] == "" {
			t.Errorf("%s can be there, but neither the table nor the test's daemon has it", name)
		}
	}
	for _, reason := range watch.Reasons {
		if !strings.Contains(string(doc), "`"+string(reason)+"`") {
			t.Errorf("the reason %s is not documented", reason)
		}
	}
}

// described lists all metrics that there can be, shown or not.
func described(m *watch.Metrics) (names []string) {
	descs := make(chan *client.Desc)
	go func() {
		m.Describe(descs)
		close(descs)
	}()
	for d := range descs {
		names = append(names, regexp.MustCompile(`rqvault_\w+`).FindString(d.String()))
	}
	return names
}

func lined(m map[string]string) string {
	var lines []string
	for k, v := range m {
		lines = append(lines, k+" "+v)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func TestRuns(t *testing.T) {
	m := watch.New("1")
	m.Expect("main", watch.Backup, time.Hour, noon)
	m.Expect("main", watch.Backup, 2*time.Hour, noon.Add(time.Hour))
	holds(t, m, `rqvault_runs_total{result="failed",source="main",task="backup"} 0`,
		`rqvault_age_limit_seconds{source="main",task="backup"} 7200`,
		fmt.Sprintf(`rqvault_expected_since_timestamp_seconds{source="main",task="backup"} %v`, float64(noon.Unix())))
	lacks(t, m, "rqvault_last_run_ok", "rqvault_last_success")

	m.RunStarted("main", watch.Backup, noon)
	holds(t, m, `rqvault_run_active{source="main",task="backup"} 1`)
	run := watch.Run{Source: "main", Task: watch.Backup, Started: noon, Ended: noon.Add(90 * time.Second), Phases: []watch.Phase{{"dump", time.Minute, 42}}}
	m.RunEnded(run)
	holds(t, m, `rqvault_run_active{source="main",task="backup"} 0`, `rqvault_last_run_ok{source="main",task="backup"} 1`,
		`rqvault_runs_total{result="ok",source="main",task="backup"} 1`, `rqvault_last_run_duration_seconds{source="main",task="backup"} 90`,
		`rqvault_last_run_phase_duration_seconds{phase="dump",source="main",task="backup"} 60`, `rqvault_last_run_phase_bytes{phase="dump",source="main",task="backup"} 42`,
		fmt.Sprintf(`rqvault_last_success_timestamp_seconds{source="main",task="backup"} %v`, float64(noon.Unix()+90)))

	run.Reason, run.Phases, run.Ended = "the disk of db7 is full", []watch.Phase{{"index", time.Second, 1}}, noon.Add(time.Hour)
	m.RunEnded(run)
	holds(t, m, `rqvault_run_failures_total{reason="other",source="main",task="backup"} 1`, `rqvault_last_run_ok{source="main",task="backup"} 0`,
		`rqvault_run_seconds_total{source="main",task="backup"} 3690`,
		fmt.Sprintf(`rqvault_last_success_timestamp_seconds{source="main",task="backup"} %v`, float64(noon.Unix()+90)))
	lacks(t, m, `rqvault_last_run_phase_bytes{phase="dump"`)

	m.Succeeded("main", watch.Drill, time.Time{}) // never
	lacks(t, m, `rqvault_last_run_ok{source="main",task="drill"`, `rqvault_last_success_timestamp_seconds{source="main",task="drill"`)
	m.Succeeded("main", watch.Backup, noon)
	for _, reason := range []watch.Reason{watch.Interrupted, watch.LeaseLost} {
		run.Reason = reason
		m.RunEnded(run)
	}
	holds(t, m, `rqvault_runs_total{result="aborted",source="main",task="backup"} 2`, `rqvault_runs_total{result="failed",source="main",task="backup"} 1`,
		`rqvault_last_run_ok{source="main",task="backup"} 1`)

	m.NextRun("main", watch.Backup, noon)
	m.NextRun("main", watch.Backup, time.Time{})
	lacks(t, m, "rqvault_next_run")
}

func TestWhatIsNewestOnlyMovesForward(t *testing.T) {
	m := watch.New("1")
	m.Verified("main", noon, true)
	m.Verified("main", noon.Add(-time.Hour), true)
	m.Verified("main", noon.Add(time.Hour), false)
	holds(t, m, `rqvault_last_verify_ok{source="main"} 0`, fmt.Sprintf(`rqvault_verified_snapshot_timestamp_seconds{source="main"} %v`, float64(noon.Unix())))
	m.Snapshot(watch.Snapshot{Source: "main", CreatedAt: noon})
	m.Snapshot(watch.Snapshot{Source: "main"})
	lacks(t, m, "rqvault_snapshot_timestamp_seconds")
}

func TestNothingOldIsSaidOfARedisThatIsDown(t *testing.T) {
	m := daemon(noon)
	m.Live(watch.Live{Source: "main"})
	holds(t, m, `rqvault_redis_up{source="main"} 0`, `rqvault_redis_up{source="billing"} 1`, `rqvault_queue_jobs{queue="mail",source="billing"} 912`)
	lacks(t, m, `rqvault_queue_jobs{queue="mail",source="main"`, `rqvault_workers{source="main"`, `rqvault_queue_oldest_job_timestamp_seconds{queue="mail",source="main"`)
}

func TestQueuesHaveABoundedNumberOfSeries(t *testing.T) {
	m := watch.New("1")
	live := watch.Live{Source: "main", Up: true}
	for i := range 5000 {
		live.Queues = append(live.Queues, watch.Queue{Name: fmt.Sprintf("q%04d", i), Jobs: int64(i), Oldest: noon.Add(-time.Duration(i) * time.Second)})
	}
	m.Live(live)
	count := func(prefix string) (n int) {
		for _, line := range ours(scrape(t, m)) {
			if strings.HasPrefix(line, prefix) {
				n++
			}
		}
		return n
	}
	if got := count("rqvault_queue_jobs"); got != 51 {
		t.Errorf("%d series, want 50 and the other", got)
	}
	rest := int64(4949) * 4950 / 2
	holds(t, m, `rqvault_queue_jobs{queue="q4999",source="main"} 4999`, fmt.Sprintf(`rqvault_queue_jobs{queue="other",source="main"} %v`, float64(rest)),
		fmt.Sprintf(`rqvault_queue_oldest_job_timestamp_seconds{queue="other",source="main"} %v`, float64(noon.Unix()-4949)))

	live.Queues[0].Jobs = 1 << 40 // now the longest, and all places are taken
	m.Live(live)
	lacks(t, m, `rqvault_queue_jobs{queue="q0000"`)
	holds(t, m, `rqvault_queue_jobs{queue="q4950",source="main"} 4950`)

	live.Queues = live.Queues[:4960] // 40 that had places are gone
	m.Live(live)
	holds(t, m, fmt.Sprintf(`rqvault_queue_jobs{queue="q0000",source="main"} %v`, float64(1<<40)))

	jobs := map[string]map[string]int64{}
	for i := range 5000 {
		jobs[fmt.Sprintf("q%04d", i)] = map[string]int64{"queued": 1, "failed": 2}
	}
	m.Snapshot(watch.Snapshot{Source: "main", CreatedAt: noon, Jobs: jobs})
	if got := count("rqvault_snapshot_jobs"); got != 102 {
		t.Errorf("%d series for the snapshot, want those of 50 and the other", got)
	}
	holds(t, m, `rqvault_snapshot_jobs{queue="other",source="main",status="failed"} 9900`)
}

func TestAnyQueueNameIsServed(t *testing.T) {
	m := watch.New("1")
	long := strings.Repeat("ü", 200)
	m.Live(watch.Live{Source: "main", Up: true, Queues: []watch.Queue{{"\xff\xfe", 1, noon}, {"a\"b\\c\nd{}", 2, noon}, {long, 3, noon}, {"", 4, noon}, {"other", 5, noon}}})
	holds(t, m, `rqvault_queue_jobs{queue="�",source="main"} 1`, `rqvault_queue_jobs{queue="a\"b\\c\nd{}",source="main"} 2`, `rqvault_queue_jobs{queue="",source="main"} 4`,
		`rqvault_queue_jobs{queue="`+strings.Repeat("ü", 64)+`…",source="main"} 3`, `rqvault_queue_jobs{queue="other",source="main"} 5`)
}

func TestStandDownLeavesWhatIsItsOwn(t *testing.T) {
	m := daemon(noon)
	m.Lease("main", false, 4)
	left := func() []string {
		names := map[string]bool{}
		for _, line := range ours(scrape(t, m)) {
			name, _, _ := strings.Cut(line, "{")
			name, _, _ = strings.Cut(name, " ")
			names[name] = true
		}
		return slices.Sorted(maps.Keys(names))
	}
	all := left()
	m.StandDown("main")
	if text := scrape(t, m); strings.Contains(text, `rqvault_snapshot_keys{source="main"}`) || !strings.Contains(text, `rqvault_runs_total{result="ok",source="main",task="backup"}`) {
		t.Errorf("of main is left\n%s", text)
	}
	if got := left(); len(got) < len(all)-1 { // the alarm was main's
		t.Errorf("left are %v: the other source is led from here still", got)
	}
	m.StandDown("billing")
	want := []string{"rqvault_build_info", "rqvault_config_last_good_timestamp_seconds", "rqvault_config_last_reload_ok", "rqvault_last_message_timestamp_seconds",
		"rqvault_lease_generation", "rqvault_lease_leader", "rqvault_lease_lost_total", "rqvault_messages_total",
		"rqvault_run_failures_total", "rqvault_run_seconds_total", "rqvault_runs_total", "rqvault_store_up"}
	if got := left(); !slices.Equal(got, want) {
		t.Errorf("left are %v, want %v", got, want)
	}
	holds(t, m, `rqvault_lease_lost_total{lease="main"} 1`, `rqvault_lease_leader{lease="main"} 0`)
}

func TestForgetDropsOneSource(t *testing.T) {
	m := daemon(noon)
	var want []string
	for _, line := range ours(scrape(t, m)) {
		if !strings.Contains(line, `source="main"`) {
			want = append(want, line)
		}
	}
	m.Forget("main")
	if got := ours(scrape(t, m)); !slices.Equal(got, want) {
		t.Errorf("left is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// A scrape sees what one call says as a whole, whoever calls at the same time.
func TestAScrapeSeesNoHalfTruth(t *testing.T) {
	m := watch.New("1")
	live := func(n int64) watch.Live {
		return watch.Live{Source: "main", Up: true, Queues: []watch.Queue{{"a", n, noon}, {"b", n, noon}}}
	}
	m.Live(live(0))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := int64(1); ; n++ {
			select {
			case <-stop:
				return
			default:
				m.Live(live(n))
			}
		}
	})
	for range 100 {
		var values []string
		for _, line := range ours(scrape(t, m)) {
			if strings.HasPrefix(line, "rqvault_queue_jobs") {
				values = append(values, line[strings.LastIndex(line, " "):])
			}
		}
		if len(values) != 2 || values[0] != values[1] {
			t.Fatalf("got %v", values)
		}
	}
	close(stop)
	wg.Wait()
}

// The alarms take the reasons of runs for what they mean here.
func TestAlarmsKnowTheReasons(t *testing.T) {
	judge := func(reason watch.Reason, failed int) int {
		f := alarm.Facts{Backup: alarm.Task{Failed: failed, Reason: string(reason)}, RedisDown: noon, StoreDown: noon}
		return len(alarm.Judge(f, alarm.Limits{}, noon))
	}
	for _, reason := range watch.Reasons {
		once, twice := judge(reason, 1), judge(reason, 2)
		final := reason == watch.Damaged || reason == watch.Differences
		follows := reason == watch.RedisUnreachable || reason == watch.StoreUnreachable
		if (once == 1) != final || (twice == 0) != follows {
			t.Errorf("%s: %d alarms for one failure, %d for two", reason, once, twice)
		}
	}
}
