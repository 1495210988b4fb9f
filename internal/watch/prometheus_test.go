package watch_test

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"rqvault/internal/promtest"
	"rqvault/internal/watch"
)

const (
	rulesFile = "../../deploy/prometheus/rqvault.rules.yml"
	testsFile = "../../deploy/prometheus/rqvault.test.yml"
)

func promtool(t testing.TB, input string, args ...string) {
	t.Helper()
	cmd := exec.Command(promtest.Program(t, "promtool"), args...)
	cmd.Stdin = strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func TestMetricsFollowTheConventions(t *testing.T) {
	var text strings.Builder
	for line := range strings.Lines(scrape(t, daemon(noon))) {
		// The Go runtime's own are not ours to name.
		if strings.HasPrefix(line, "rqvault_") || strings.HasPrefix(line, "# HELP rqvault_") || strings.HasPrefix(line, "# TYPE rqvault_") {
			text.WriteString(line)
		}
	}
	promtool(t, text.String(), "check", "metrics")
}

func TestAlertRules(t *testing.T) {
	promtool(t, "", "check", "rules", rulesFile)
	promtool(t, "", "test", "rules", testsFile)
}

var (
	alertName  = regexp.MustCompile(`(?m)^      - alert: (\w+)$`)
	testedName = regexp.MustCompile(`(?m)^      - alertname: (\w+)\n        eval_time: \w+\n        exp_alerts:\n`)
	quietName  = regexp.MustCompile(`(?m)^      - \{alertname: (\w+), `)
	runbookURL = regexp.MustCompile(`(?m)^          runbook_url: docs/runbook\.md#([a-z-]+)$`)
	docAlert   = regexp.MustCompile("(?m)^\\| `(Rqvault\\w+)` \\| `([a-z-]+)` \\|$")
	metricName = regexp.MustCompile(`\brqvault_\w+\b`)
)

func read(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// firsts are the first groups of all matches, sorted, each once.
func firsts(re *regexp.Regexp, text string) []string {
	var all []string
	for _, m := range re.FindAllStringSubmatch(text, -1) {
		all = append(all, m[len(m)-1])
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func TestEachAlertIsWholeAndTested(t *testing.T) {
	rules, tests, doc := read(t, rulesFile), read(t, testsFile), read(t, "../../docs/alarms.md")
	all := firsts(alertName, rules)
	if len(all) < 20 {
		t.Fatalf("only %d alerts: %v", len(all), all)
	}
	if got := firsts(testedName, tests); !slices.Equal(got, all) {
		t.Errorf("seen firing in a test: %v, there are %v", got, all)
	}
	if got := firsts(quietName, tests); !slices.Equal(got, all) {
		t.Errorf("seen quiet while all is well: %v, there are %v", got, all)
	}
	var broken []string
	for _, rule := range strings.Split(rules, "      - alert: ")[1:] {
		for _, must := range []string{"severity: ", "summary: ", "description: ", "runbook_url: docs/runbook.md#"} {
			if !strings.Contains(rule, must) {
				broken = append(broken, strings.Fields(rule)[0]+" has no "+must)
			}
		}
	}
	if len(broken) > 0 {
		t.Error(strings.Join(broken, "; "))
	}
	// An alert is either the program's own alarm too, by its section, or listed beside them.
	var known []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\| (?:warning|critical) \\|").FindAllStringSubmatch(doc, -1) {
		known = append(known, row[1])
	}
	known = append(known, firsts(docAlert, doc)...)
	slices.Sort(known)
	if got := firsts(runbookURL, rules); !slices.Equal(got, known) {
		t.Errorf("sections that alerts link to: %v, documented are %v", got, known)
	}
}

func TestAlertsAskForMetricsThatExist(t *testing.T) {
	doc := read(t, "../../docs/metrics.md")
	for _, path := range []string{rulesFile, testsFile, "../../deploy/grafana/rqvault.json"} {
		text := read(t, path)
		text = regexp.MustCompile(`\w+:rqvault_\w+:\w+`).ReplaceAllString(text, "") // promtool knows those
		text = regexp.MustCompile(`rqvault_(records|\w*\.yml)`).ReplaceAllString(text, "")
		for _, name := range metricName.FindAllString(text, -1) {
			if !strings.Contains(doc, "`"+name+"`") {
				t.Errorf("%s asks for %s, which there is not", path, name)
			}
		}
	}
}

// Every query of the dashboard and every rule, run by a real Prometheus on what a daemon
// really serves.
func TestDashboardAndRulesOnARealPrometheus(t *testing.T) {
	m := daemon(time.Now())
	at := serve(t, m, watch.NewHealth(time.Now, 0))
	p := promtest.Start(t, strings.TrimPrefix(at, "http://"))

	left := promtest.Queries(t, "main", "billing")
	p.Until("the dashboard", func() []string {
		m.Message("chat", watch.Sent, time.Now()) // it lives
		left = slices.DeleteFunc(left, func(expr string) bool {
			n, err := p.Series(expr)
			return err == nil && n > 0
		})
		return left
	})
	if n, err := p.Series(`count by (source) (rqvault_age_limit_seconds)`); err != nil || n != 2 {
		t.Errorf("the dashboard's variable offers %d sources, %v", n, err)
	}
	p.Until("rules and alerts", func() []string { return unwell(p) })
}

// unwell lists the rules that Prometheus cannot evaluate, the records that yield nothing, and
// alerts that are not as the daemon of the test wants them.
func unwell(p *promtest.Server) (bad []string) {
	rules, err := p.Rules()
	if err != nil || len(rules) < 25 {
		bad = append(bad, fmt.Sprintf("%d rules, %v", len(rules), err))
	}
	for _, r := range rules {
		if r.Health != "ok" {
			bad = append(bad, fmt.Sprintf("%s: %s %s", r.Name, r.Health, r.LastError))
		}
		if r.Type == "recording" {
			if n, err := p.Series(r.Name); err != nil || n == 0 {
				bad = append(bad, fmt.Sprintf("%s yields %d series, %v", r.Name, n, err))
			}
		}
		// Two jobs are lost, and a backup failed a moment ago.
		want := cmp.Or(map[string]string{"RqvaultJobsLost": "firing", "RqvaultBackupFailed": "pending"}[r.Name], "inactive")
		if r.Type == "alerting" && r.State != want {
			bad = append(bad, fmt.Sprintf("%s is %s, want %s", r.Name, r.State, want))
		}
	}
	return bad
}
