package notify_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"rqvault/internal/alarm"
	"rqvault/internal/notify"
)

const password = "T0PSECRET"

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func notice(state alarm.State) alarm.Notice {
	a := alarm.Alarm{Name: alarm.JobsLost, Severity: alarm.Critical, Source: "main", Summary: "7 jobs lost <!channel> & more",
		Next: "rqvault diff --source main", Runbook: "docs/runbook.md#jobs-lost", Since: noon.Add(-time.Hour)}
	return alarm.Notice{State: state, Alarm: a, Peak: a.Severity, At: noon}
}

// request is what a receiver got.
type request struct {
	path   string
	header http.Header
	body   []byte
}

// receiver is a real HTTP server that answers with these statuses, the last one for ever.
func receiver(t testing.TB, statuses ...int) (hook notify.Secret, got func() []request) {
	t.Helper()
	var mu sync.Mutex
	var all []request
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Method != http.MethodPost {
			t.Errorf("%s %s: %v", r.Method, r.URL, err)
		}
		mu.Lock()
		defer mu.Unlock()
		all = append(all, request{r.URL.Path, r.Header.Clone(), body})
		w.Header().Set("Location", "/elsewhere/"+password)
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(statuses[min(len(all), len(statuses))-1])
	}))
	t.Cleanup(server.Close)
	return secret(t, server.URL+"/hook/"+password), func() []request {
		mu.Lock()
		defer mu.Unlock()
		return append([]request{}, all...)
	}
}

func secret(t testing.TB, text string) notify.Secret {
	t.Helper()
	s, err := notify.ParseSecret(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAHooksURLIsNeverShown(t *testing.T) {
	hook := secret(t, "https://user:"+password+"@hooks.example.org/services/"+password+"?token="+password)
	document, err := json.Marshal(map[string]any{"hook": hook})
	if err != nil {
		t.Fatal(err)
	}
	shown := string(document)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		shown += fmt.Sprintf(verb, hook) + fmt.Sprintf(verb, &hook) + fmt.Sprintf(verb, notify.Slack{URL: hook}) + fmt.Sprintf(verb, []any{hook})
	}
	if strings.Contains(shown, password) || strings.Contains(shown, fmt.Sprintf("%x", password)) {
		t.Errorf("it is shown: %s", shown)
	}
	if !strings.Contains(shown, "https://hooks.example.org/…") {
		t.Errorf("its host is not: %s", shown)
	}
	for _, bad := range []string{"https://h\x00/" + password, "ftp://h/" + password, password, "https:///" + password, "http://[::1/" + password} {
		if _, err := notify.ParseSecret(bad); err == nil || strings.Contains(err.Error(), password) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestAnswersOfAHook(t *testing.T) {
	cases := map[int]struct{ arrives, refused bool }{
		200: {true, false}, 204: {true, false},
		301: {false, true}, 400: {false, true}, 404: {false, true}, 410: {false, true},
		408: {false, false}, 429: {false, false}, 500: {false, false}, 503: {false, false},
	}
	for status, want := range cases {
		hook, got := receiver(t, status)
		err := notify.Slack{URL: hook}.Send(t.Context(), notice(alarm.Firing))
		if (err == nil) != want.arrives || errors.Is(err, notify.ErrRefused) != want.refused {
			t.Errorf("status %d: %v, want it to arrive %v, to be refused %v", status, err, want.arrives, want.refused)
		}
		if err != nil && (strings.Contains(err.Error(), password) || !strings.Contains(err.Error(), "127.0.0.1")) {
			t.Errorf("status %d: the error has to name the host, and no more: %v", status, err)
		}
		var later *notify.Later
		if asks := status == 429 || status == 503; errors.As(err, &later) != asks || asks && later.After != 7*time.Second {
			t.Errorf("status %d asks for time: %v", status, later)
		}
		if n := len(got()); n != 1 {
			t.Errorf("status %d: %d requests; a redirect must not be followed", status, n)
		}
	}
}

func TestAHostThatIsNotThere(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	hook := secret(t, server.URL+"/"+password)
	server.Close()
	err := notify.Slack{URL: hook}.Send(t.Context(), notice(alarm.Firing))
	if err == nil || errors.Is(err, notify.ErrRefused) || strings.Contains(err.Error(), password) {
		t.Errorf("got %v", err)
	}
	if err := (notify.Slack{}).Send(t.Context(), notice(alarm.Firing)); !errors.Is(err, notify.ErrRefused) {
		t.Errorf("no URL: got %v", err)
	}
}

func TestSlackGetsTextThatCallsNobody(t *testing.T) {
	hook, got := receiver(t, 200)
	for _, state := range []alarm.State{alarm.Firing, alarm.Repeated, alarm.Resolved} {
		if err := (notify.Slack{URL: hook}).Send(t.Context(), notice(state)); err != nil {
			t.Fatal(err)
		}
	}
	for i, want := range []string{"*[CRITICAL] rqvault main: jobs-lost*\n7 jobs lost &lt;!channel&gt; &amp; more\nsince: 2026-11-23 11:00:00 UTC\nnext: rqvault diff --source main\nrunbook: docs/runbook.md#jobs-lost\n",
		"*[STILL CRITICAL] rqvault main: jobs-lost*\n", "*[RESOLVED] rqvault main: jobs-lost*\nIt is over."} {
		var m struct{ Text string }
		if err := json.Unmarshal(got()[i].body, &m); err != nil || !strings.HasPrefix(m.Text, want) {
			t.Errorf("%d: got %q, %v, want %q", i, m.Text, err, want)
		}
	}
}

// recipe is the receiver's check as docs/alarms.md prints it.
func recipe(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/alarms.md")
	if err != nil {
		t.Fatal(err)
	}
	code := regexp.MustCompile("(?s)```python\n(.*?)```").FindSubmatch(text)
	if code == nil {
		t.Fatal("docs/alarms.md has no recipe any more")
	}
	return string(code[1])
}

const tryRecipe = `
import json, sys
case = json.load(sys.stdin)
key, body, seen = b"between us", case["body"].encode(), set()
headers = case["headers"]
now = int(headers["X-Rqvault-Timestamp"])
time.time = lambda: now + 10
print(genuine(key, headers, body, seen), genuine(key, headers, body, seen))
print(genuine(b"other", headers, body, set()), genuine(key, headers, body + b" ", set()), genuine(key, {}, body, set()))
print(genuine(key, headers | {"X-Rqvault-Timestamp": str(now + 1)}, body, set()))
time.time = lambda: now + 301
print(genuine(key, headers, body, set()))
`

// What the documentation tells receivers to do, done by Python to what was really sent.
func TestAWebhookIsSignedAsDocumented(t *testing.T) {
	hook, got := receiver(t, 500, 200)
	now := noon
	w := notify.Webhook{URL: hook, Key: []byte("between us"), Now: func() time.Time { now = now.Add(time.Minute); return now }}
	if err := w.Send(t.Context(), notice(alarm.Firing)); err == nil {
		t.Fatal("a 500 passed for success")
	}
	if err := w.Send(t.Context(), notice(alarm.Firing)); err != nil {
		t.Fatal(err)
	}
	first, second := got()[0], got()[1]
	if first.header.Get(notify.HeaderID) != second.header.Get(notify.HeaderID) || first.header.Get(notify.HeaderTimestamp) == second.header.Get(notify.HeaderTimestamp) {
		t.Errorf("an attempt has the message's id and its own time: %v, then %v", first.header, second.header)
	}
	headers := map[string]string{}
	for name := range second.header {
		headers[name] = second.header.Get(name)
	}
	input, err := json.Marshal(map[string]any{"headers": headers, "body": string(second.body)})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/usr/bin/python3", "-c", recipe(t)+tryRecipe)
	cmd.Stdin = bytes.NewReader(input)
	out, err := cmd.CombinedOutput()
	if want := "True False\nFalse False False\nFalse\nFalse\n"; err != nil || string(out) != want {
		t.Errorf("got %s, %v, want %s", out, err, want)
	}
}

func TestTheJSONOfAWebhook(t *testing.T) {
	hook, got := receiver(t, 200)
	n := notice(alarm.Resolved)
	if err := (notify.Webhook{URL: hook, Now: func() time.Time { return noon }}).Send(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	r := got()[0]
	if s := r.header.Get(notify.HeaderSignature); s != "" {
		t.Errorf("signed without a key: %s", s)
	}
	want := fmt.Sprintf(`{"version":1,"id":%q,"state":"resolved","at":"2026-11-23T12:00:00Z","name":"jobs-lost","severity":"critical","source":"main",`+
		`"summary":"7 jobs lost \u003c!channel\u003e \u0026 more","next":"rqvault diff --source main","runbook":"docs/runbook.md#jobs-lost","since":"2026-11-23T11:00:00Z"}`, n.ID())
	if string(r.body) != want {
		t.Errorf("got %s, want %s", r.body, want)
	}
}

// program writes a script that stands for a mail program.
func program(t testing.TB, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "mailer")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestMailIsGivenToAProgram(t *testing.T) {
	t.Setenv("AWS_SECRET_ACCESS_KEY", password)
	out := filepath.Join(t.TempDir(), "out")
	m := notify.Mail{Argv: []string{program(t, `{ printf '%s|' "$@"; echo; cat; env; } > "`+out+`"`), "$(id)", "; id"}, Env: []string{"PATH=/usr/bin:/bin"}}
	n := notice(alarm.Firing)
	n.Alarm.Source = "main\nBcc: all@example.org"
	if err := m.Send(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	want := "$(id)|; id|\nSubject: [CRITICAL] rqvault main Bcc: all@example.org: jobs-lost\nDate: Mon, 23 Nov 2026 12:00:00 +0000\nMessage-ID: <"
	if !strings.HasPrefix(string(got), want) {
		t.Errorf("got %s, want it to begin with %s", got, want)
	}
	if !strings.Contains(string(got), "\n\n7 jobs lost <!channel> & more\nsince: ") || !strings.Contains(string(got), "PATH=/usr/bin:/bin\n") {
		t.Errorf("text or environment is missing: %s", got)
	}
	if strings.Contains(string(got), password) {
		t.Error("the program sees the daemon's environment")
	}
}

func TestAMailProgramThatFails(t *testing.T) {
	env := []string{"PATH=/usr/bin:/bin"}
	err := notify.Mail{Argv: []string{program(t, "cat >/dev/null; i=0; while [ $i -lt 2000 ]; do echo noise >&2; i=$((i+1)); done; echo no such user >&2; exit 67")}, Env: env}.Send(t.Context(), notice(alarm.Firing))
	if err == nil || !strings.HasSuffix(err.Error(), "no such user") || !strings.Contains(err.Error(), "67") || len(err.Error()) > 600 {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	began := time.Now()
	err = notify.Mail{Argv: []string{program(t, "exec sleep 60")}, Env: env}.Send(ctx, notice(alarm.Firing))
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 30*time.Second {
		t.Errorf("one that hangs: %v after %s", err, time.Since(began))
	}
	if err := (notify.Mail{}).Send(t.Context(), notice(alarm.Firing)); !errors.Is(err, notify.ErrRefused) {
		t.Errorf("no program: %v", err)
	}
}
