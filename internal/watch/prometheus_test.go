package watch_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"rqvault/internal/child"
	"rqvault/internal/watch"
)

const (
	rulesFile = "../../deploy/prometheus/rqvault.rules.yml"
	testsFile = "../../deploy/prometheus/rqvault.test.yml"
)

// program finds a program of Prometheus': by its variable, in PATH, or where tools/setup.sh
// has put it. One that is missing fails the test.
func program(t testing.TB, name string) string {
	t.Helper()
	variable := "RQVAULT_" + strings.ToUpper(name)
	if path := os.Getenv(variable); path != "" {
		return path
	}
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	path, err := filepath.Abs(filepath.Join("../../.bin", name))
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		t.Fatalf("%s is needed (run tools/setup.sh test, or set %s): %v", name, variable, err)
	}
	return path
}

func promtool(t testing.TB, input string, args ...string) {
	t.Helper()
	cmd := exec.Command(program(t, "promtool"), args...)
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

// prometheus is a real one that scrapes the given address every second.
type prometheus struct {
	t   testing.TB
	url string
	log *bytes.Buffer
	p   *child.Process
}

const patience = 90 * time.Second

func startPrometheus(t testing.TB, target string) *prometheus {
	t.Helper()
	rules, err := filepath.Abs(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config := fmt.Sprintf("global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}\n"+
		"rule_files: [%q]\nscrape_configs: [{job_name: rqvault, static_configs: [{targets: [%q]}]}]\n", rules, target)
	if err := os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	p := &prometheus{t: t, url: "http://" + address, log: &bytes.Buffer{}}
	cmd := exec.Command(program(t, "prometheus"), "--config.file="+dir+"/prometheus.yml", "--storage.tsdb.path="+dir+"/data", "--web.listen-address="+address)
	cmd.Stderr = p.log
	if p.p, err = child.Start(cmd, true); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.p.End(os.Interrupt, 10*time.Second)
		if t.Failed() {
			t.Logf("prometheus said:\n%s", p.log)
		}
	})
	return p
}

// ask calls the API; anything but success is an error.
func (p *prometheus) ask(path string, into any) error {
	cmd := struct {
		Status, Error string
		Data          json.RawMessage
	}{}
	resp, err := httpGet(p.url + "/api/v1/" + path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(resp, &cmd); err != nil {
		return fmt.Errorf("%w: %.100s", err, resp)
	}
	if cmd.Status != "success" {
		return fmt.Errorf("%s", cmd.Error)
	}
	return json.Unmarshal(cmd.Data, into)
}

// series says how many series an expression yields now.
func (p *prometheus) series(expr string) (int, error) {
	var data struct{ Result []json.RawMessage }
	err := p.ask("query?query="+url.QueryEscape(expr), &data)
	return len(data.Result), err
}

// until asks again and again until done says nothing is missing.
func (p *prometheus) until(what string, missing func() []string) {
	p.t.Helper()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	deadline := time.Now().Add(patience)
	for {
		left := missing()
		if len(left) == 0 {
			return
		}
		if p.p.Exited() || time.Now().After(deadline) {
			p.t.Fatalf("%s: still missing:\n%s", what, strings.Join(left, "\n"))
		}
		<-tick.C
	}
}

// Every query of the dashboard and every rule, run by a real Prometheus on what a daemon
// really serves.
func TestDashboardAndRulesOnARealPrometheus(t *testing.T) {
	m := daemon(time.Now())
	at := serve(t, m, watch.NewHealth(time.Now, 0))
	p := startPrometheus(t, strings.TrimPrefix(at, "http://"))

	left := queries(t)
	p.until("the dashboard", func() []string {
		m.Message("chat", watch.Sent, time.Now()) // it lives
		left = slices.DeleteFunc(left, func(expr string) bool {
			n, err := p.series(expr)
			return err == nil && n > 0
		})
		return left
	})
	if n, err := p.series(`count by (source) (rqvault_age_limit_seconds)`); err != nil || n != 2 {
		t.Errorf("the dashboard's variable offers %d sources, %v", n, err)
	}
	p.until("rules and alerts", func() []string { return p.unwell(t) })
}

// unwell lists the rules that Prometheus cannot evaluate, the records that yield nothing, and
// alerts that are not as the daemon of the test wants them.
func (p *prometheus) unwell(t testing.TB) (bad []string) {
	var data struct {
		Groups []struct {
			Rules []struct{ Name, Type, Health, LastError, State, Query string }
		}
	}
	if err := p.ask("rules", &data); err != nil {
		return []string{err.Error()}
	}
	count := 0
	for _, g := range data.Groups {
		for _, r := range g.Rules {
			count++
			if r.Health != "ok" {
				bad = append(bad, fmt.Sprintf("%s: %s %s", r.Name, r.Health, r.LastError))
			}
			if r.Type == "recording" {
				if n, err := p.series(r.Name); err != nil || n == 0 {
					bad = append(bad, fmt.Sprintf("%s yields %d series, %v", r.Name, n, err))
				}
			}
			// Two jobs are lost, and a backup failed a moment ago.
			want := map[string]string{"RqvaultJobsLost": "firing", "RqvaultBackupFailed": "pending"}[r.Name]
			if want == "" {
				want = "inactive"
			}
			if r.Type == "alerting" && r.State != want {
				bad = append(bad, fmt.Sprintf("%s is %s, want %s", r.Name, r.State, want))
			}
		}
	}
	if count < 25 {
		bad = append(bad, fmt.Sprintf("only %d rules", count))
	}
	return bad
}
