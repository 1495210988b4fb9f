package command_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rqvault/internal/command"
	"rqvault/internal/redistest"
)

// plainly runs a command line just as it stands.
func plainly(t testing.TB, args ...string) result {
	t.Helper()
	var out, complaints bytes.Buffer
	code := command.Run(t.Context(), append([]string{"rqvault"}, args...), command.Streams{Out: &out, Err: &complaints})
	return result{code, out.String(), complaints.String()}
}

// Every command takes from the configuration what neither a flag nor a variable says.
func TestCommandsFollowTheConfiguration(t *testing.T) {
	v := newVault(t)
	v.rq(`queue('q').enqueue('tasks.note', 1, job_id='a')`)
	file := filepath.Join(t.TempDir(), "rqvault.yml")
	text := fmt.Sprintf("stores: {main: {url: %s}}\nsources:\n  prod: {redis: '%s', via: scan, policies: {q: at-most-once}}\n", v.store, v.redis)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := plainly(t, "backup", "--config", file); r.code != 0 || !strings.Contains(r.out, "source prod") || !strings.Contains(r.out, "by scan") {
		t.Errorf("backup: exit %d\n%s%s", r.code, r.out, r.err)
	}
	if r := plainly(t, "backup", "--config", file, "--via", "sync"); r.code != 0 || !strings.Contains(r.out, "by sync") {
		t.Errorf("a flag does not win: exit %d\n%s%s", r.code, r.out, r.err)
	}
	t.Setenv("RQVAULT_VIA", "bgsave")
	if r := plainly(t, "backup", "--config", file); r.code != 0 || !strings.Contains(r.out, "by bgsave") {
		t.Errorf("a variable does not win: exit %d\n%s%s", r.code, r.out, r.err)
	}
	t.Setenv("RQVAULT_VIA", "")
	v.s.Do("FLUSHALL")
	t.Setenv("RQVAULT_CONFIG", file)
	if r := plainly(t, "diff", "--json"); r.code != 3 || !strings.Contains(r.out, `"action": "hold"`) {
		t.Errorf("diff does not know the policy of the queue: exit %d\n%s%s", r.code, r.out, r.err)
	}
	if r := plainly(t, "diff", "--source", "prd"); r.code != 2 || !strings.Contains(r.err, "no source prd; here are prod") {
		t.Errorf("another source: exit %d: %s", r.code, r.err)
	}
	more := text + "  other: {redis: 'redis://127.0.0.1:1', store: main}\n"
	if err := os.WriteFile(file, []byte(more), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := plainly(t, "show"); r.code != 2 || !strings.Contains(r.err, "say which with --source: other, prod") {
		t.Errorf("several sources: exit %d: %s", r.code, r.err)
	}
	if r := plainly(t, "snapshots"); r.code != 0 || strings.Count(r.out, "prod") != 3 {
		t.Errorf("all sources: exit %d: %s%s", r.code, r.out, r.err)
	}
	if r := plainly(t, "snapshots", "--source", "prod"); r.code != 0 || strings.Count(r.out, "prod") != 3 {
		t.Errorf("one of several: exit %d: %s%s", r.code, r.out, r.err)
	}
	r := plainly(t, "config", "check")
	if r.code != 3 || !strings.Contains(r.out, "source other  FAIL") || !strings.Contains(r.out, "source prod   ok") || !strings.Contains(r.out, "store main    ok") {
		t.Errorf("config check: exit %d\n%s%s", r.code, r.out, r.err)
	}
}

// A right that only a backup over the replication link needs is missed before the first
// backup does.
func TestConfigCheckAsksForTheLink(t *testing.T) {
	s := redistest.Start(t, redistest.WithUser("reader on >s3cret ~* +@read +info +config|get +ping +client"))
	for _, c := range []struct {
		via  string
		code int
		want string
	}{{"bgsave", 0, "source main  ok"}, {"sync", 3, "no permissions to run the 'replconf' command"}} {
		file := filepath.Join(t.TempDir(), "rqvault.yml")
		text := fmt.Sprintf("stores: {main: {url: %s}}\nsources: {main: {redis: '%s', redis_password: s3cret, via: %s}}\n", t.TempDir(), strings.Replace(s.URL(), "://", "://reader@", 1), c.via)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if r := plainly(t, "config", "check", "--config", file); r.code != c.code || !strings.Contains(r.out, c.want) {
			t.Errorf("%s: exit %d, want %d and %q:\n%s%s", c.via, r.code, c.code, c.want, r.out, r.err)
		}
	}
}

func TestConfigCommand(t *testing.T) {
	file := filepath.Join(t.TempDir(), "rqvault.yml")
	if r := plainly(t, "config", "default"); r.code != 0 || os.WriteFile(file, []byte(r.out), 0o600) != nil {
		t.Fatalf("default: exit %d: %s", r.code, r.err)
	}
	for _, c := range []struct {
		args []string
		env  string
		code int
		want string
	}{
		{[]string{"print", "--config", file}, "", 0, "backup: \"@every 5m\""},
		{[]string{"print", "--config", file}, "RQVAULT_SOURCES_MAIN_REDIS_PASSWORD=hunter2", 0, "redis_password: \"********\""},
		{[]string{"print", "--config", file}, "RQVAULT_SOURCES_MIAN_REDIS=x", 2, "stands for no key"},
		{[]string{"print", "--config", file + "x"}, "", 2, "no such file"},
		{[]string{"schema"}, "", 0, "json-schema.org"},
		{[]string{"prnt"}, "", 2, "there is no command \"config prnt\"; did you mean rqvault config print?"},
		{nil, "", 2, "say which"},
	} {
		t.Run(strings.Join(c.args, " ")+c.env, func(t *testing.T) {
			if name, value, ok := strings.Cut(c.env, "="); ok {
				t.Setenv(name, value)
			}
			r := plainly(t, append([]string{"config"}, c.args...)...)
			if r.code != c.code || !strings.Contains(r.out+r.err, c.want) || strings.Contains(r.out+r.err, "hunter2") {
				t.Errorf("exit %d, want %d and %q:\n%s%s", r.code, c.code, c.want, r.out, r.err)
			}
		})
	}
	if r := plainly(t, "schedule", "--config", file+"x"); r.code != 2 {
		t.Errorf("schedule without its file: exit %d: %s", r.code, r.err)
	}
}
