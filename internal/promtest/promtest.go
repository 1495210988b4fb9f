// Package promtest runs a real Prometheus for tests: it scrapes what they serve, and
// evaluates the alert rules and the dashboard's queries that are shipped.
package promtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"rqvault/internal/child"
)

// root is the repository's directory.
func root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}

// Path returns where a file of the repository is.
func Path(name string) string { return filepath.Join(root(), name) }

// The files that are shipped.
const (
	Rules     = "deploy/prometheus/rqvault.rules.yml"
	Dashboard = "deploy/grafana/rqvault.json"
)

// Program finds a program of Prometheus': by its variable, in PATH, or where tools/setup.sh
// has put it. One that is missing fails the test.
func Program(t testing.TB, name string) string {
	t.Helper()
	variable := "RQVAULT_" + strings.ToUpper(name)
	if path := os.Getenv(variable); path != "" {
		return path
	}
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	path, err := filepath.Abs(Path(filepath.Join(".bin", name)))
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		t.Fatalf("%s is needed (run tools/setup.sh test, or set %s): %v", name, variable, err)
	}
	return path
}

// Server is a Prometheus that scrapes some addresses every second.
type Server struct {
	t   testing.TB
	url string
	log *bytes.Buffer
	p   *child.Process
}

const patience = 90 * time.Second

// Start starts one, which ends with the test.
func Start(t testing.TB, targets ...string) *Server {
	t.Helper()
	rules, err := filepath.Abs(Path(Rules))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config := fmt.Sprintf("global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}\n"+
		"rule_files: [%q]\nscrape_configs: [{job_name: rqvault, static_configs: [{targets: [%s]}]}]\n", rules, strings.Join(targets, ", "))
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
	p := &Server{t: t, url: "http://" + address, log: &bytes.Buffer{}}
	cmd := exec.Command(Program(t, "prometheus"), "--config.file="+dir+"/prometheus.yml", "--storage.tsdb.path="+dir+"/data", "--web.listen-address="+address)
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

// Ask calls the API; anything but success is an error.
func (p *Server) Ask(path string, into any) error {
	var answer struct {
		Status, Error string
		Data          json.RawMessage
	}
	resp, err := get(p.url + "/api/v1/" + path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(resp, &answer); err != nil {
		return fmt.Errorf("%w: %.100s", err, resp)
	}
	if answer.Status != "success" {
		return fmt.Errorf("%s", answer.Error)
	}
	return json.Unmarshal(answer.Data, into)
}

// Series says how many series an expression yields now.
func (p *Server) Series(expr string) (int, error) {
	var data struct{ Result []json.RawMessage }
	err := p.Ask("query?query="+url.QueryEscape(expr), &data)
	return len(data.Result), err
}

// Until asks again and again until done says nothing is missing.
func (p *Server) Until(what string, missing func() []string) {
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

// get returns the body whatever the status: the API tells its errors there.
func get(url string) ([]byte, error) {
	resp, err := http.Get(url)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	return io.ReadAll(resp.Body)
}

// Queries lists the dashboard's, as Grafana sends them with these sources chosen.
func Queries(t testing.TB, sources ...string) []string {
	t.Helper()
	b, err := os.ReadFile(Path(Dashboard))
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct{ Targets []struct{ Expr string } }
	}
	if err := json.Unmarshal(b, &board); err != nil {
		t.Fatal(err)
	}
	chosen := strings.NewReplacer("$__rate_interval", "1m", "$source", strings.Join(sources, "|"))
	var all []string
	for _, p := range board.Panels {
		for _, q := range p.Targets {
			all = append(all, chosen.Replace(q.Expr))
		}
	}
	return all
}

// Rule is one alert or record, and what Prometheus makes of it.
type Rule struct{ Name, Type, Health, LastError, State string }

// Rules lists them all.
func (p *Server) Rules() ([]Rule, error) {
	var data struct{ Groups []struct{ Rules []Rule } }
	err := p.Ask("rules", &data)
	var all []Rule
	for _, g := range data.Groups {
		all = append(all, g.Rules...)
	}
	return all, err
}
