package config_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"rqvault/internal/config"
)

// with is an environment of those variables and files.
func with(files map[string]string, variables ...string) config.Environment {
	return config.Environment{Variables: variables, ReadFile: func(name string) ([]byte, error) {
		if text, ok := files[name]; ok {
			return []byte(text), nil
		}
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}}
}

const small = `
stores:
  main: {url: /var/lib/rqvault}
sources:
  prod:
    redis: redis://redis:6379/0
`

func parse(t testing.TB, text string, env config.Environment) *config.Config {
	t.Helper()
	c, err := config.Parse([]byte(text), env)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestDefaults(t *testing.T) {
	c := parse(t, small, with(nil))
	s := c.Sources["prod"]
	if s.Store != "main" || s.Via != "auto" || s.SaveTimeout != 30*time.Minute || s.Schedule.Backup != "@every 5m" || s.Schedule.Prune != "" || c.Daemon.Listen != "127.0.0.1:19121" {
		t.Errorf("got %+v of %+v", s, c)
	}
	if !s.Keep.Empty() || s.Schedule.Zone() != time.UTC {
		t.Errorf("got %+v", s)
	}
}

// The default of a key holds where the key stands without a value too.
func TestEmptyValues(t *testing.T) {
	c := parse(t, small+"    via:\n    schedule:\n      backup: ''\n      diff:\n", with(nil))
	if s := c.Sources["prod"]; s.Via != "auto" || s.Schedule.Backup != "" || s.Schedule.Diff != "@every 1m" {
		t.Errorf("got %+v", s)
	}
}

func TestTheEnvironmentWins(t *testing.T) {
	files := map[string]string{"/run/secrets/redis": "from the file\n"}
	c := parse(t, small+"    redis_password: old\n    policies: {a: at-most-once}\nalarms: {command: [a, b]}\n", with(files,
		"RQVAULT_SOURCES_PROD_REDIS=redis://other:6379/1", "RQVAULT_SOURCES_PROD_REDIS_PASSWORD_FILE=/run/secrets/redis",
		"RQVAULT_SOURCES_PROD_POLICIES=b=at-most-once c=at-least-once", "RQVAULT_ALARMS_COMMAND=mail oncall", "RQVAULT_DAEMON_LEASE_TTL=30s",
		"RQVAULT_SOURCES_PROD_KEEP_LAST=3", "RQVAULT_SOURCES_PROD_EXTEND_TTL=true", "RQVAULT_REDIS=redis://for.single.commands", "HOME=/root"))
	s := c.Sources["prod"]
	if s.Redis != "redis://other:6379/1" || s.RedisPassword != "from the file" || s.Policies["b"] != "at-most-once" || len(s.Policies) != 2 ||
		!slices.Equal(c.Alarms.Command, []string{"mail", "oncall"}) || c.Daemon.LeaseTTL != 30*time.Second || s.Keep.Last != 3 || !s.ExtendTTL {
		t.Errorf("got %+v and %+v", s, c.Alarms)
	}
}

// Every key can be set by its variable, and is then as the variable says.
func TestEveryKeyHasItsVariable(t *testing.T) {
	values := map[config.Kind]string{config.Text: "x", config.Number: "7", config.Switch: "true", config.Duration: "90m", config.List: "a b", config.Map: "a=x"}
	special := map[string]string{"stores.main.url": "/x", "sources.main.store": "main", "sources.main.schedule.time_zone": "Europe/Berlin", "alarms.heartbeat_url": "https://h/x",
		"alarms.webhooks.main.url": "https://h/x", "sources.main.schedule.jitter": "1s", "sources.main.via": "bgsave", "sources.main.limit_rate": "5MB/s", "alarms.max_verified_age": "90h"}
	for _, k := range config.Keys() {
		path := strings.ReplaceAll(k.Path, "NAME", "main")
		value := values[k.Kind]
		if k.OneOf != nil {
			value = strings.Replace(value, "x", k.OneOf[len(k.OneOf)-1], 1)
		}
		if strings.Contains(path, ".schedule.") && k.Kind == config.Text {
			value = "@every 7m"
		}
		if v, ok := special[path]; ok {
			value = v
		}
		text := "stores: {main: {url: /y}}\nsources: {main: {redis: 'redis://r'}}\n"
		if strings.HasPrefix(path, "alarms.webhooks.") {
			text += "alarms: {webhooks: {main: {url: 'https://h'}}}\n"
		}
		c := parse(t, text, with(nil, config.Variable(path)+"="+value))
		key := path[strings.LastIndexByte(path, '.')+1:]
		printed := c.Print()
		want := key + ": " + value
		switch {
		case k.Secret:
			want = key + `: "********"`
		case k.Kind == config.List:
			want = key + ": [a, b]"
		case k.Kind == config.Map:
			want = key + ": {a: " + strings.TrimPrefix(value, "a=") + "}"
		case k.Kind == config.Duration:
			want = strings.Replace(want, "90m", "1h30m", 1)
		}
		if !strings.Contains(strings.ReplaceAll(printed, `"@every 7m"`, "@every 7m"), want+"\n") {
			t.Errorf("%s=%s: no %q in\n%s", config.Variable(path), value, want, printed)
		}
	}
}

func TestProblems(t *testing.T) {
	files := map[string]string{"/secret": "s"}
	for _, c := range []struct{ text, want string }{
		{"sources: {}\nstores: {}", "sources: names no Redis"},
		{small + "    viaa: scan", "line 7: sources.prod.viaa: there is no such key; did you mean via?"},
		{small + "    keeep: {}", "did you mean keep?"},
		{small + "zzzzzz: 1", "line 7: zzzzzz: there is no such key; here are stores, sources, daemon, alarms"},
		{small + "    via: rsync", `line 7: sources.prod.via: "rsync" is none of auto, bgsave, sync, scan`},
		{small + "    store: mian", "line 7: sources.prod.store: there is no store mian; here are main"},
		{small + "    save_timeout: 5 minutes", "is no duration such as"},
		{small + "    save_timeout: -5m", "is no duration such as"},
		{small + "    save_timeout: 1.5d", "is no duration such as"},
		{small + "    resume_rate: -1", "is no count"},
		{small + "    limit_rate: fast", "\"fast\" is no rate"},
		{small + "    extend_ttl: maybe", "is neither true nor false"},
		{small + "    redis_password: a\n    redis_password_file: /secret", "line 8: sources.prod.redis_password_file: both sources.prod.redis_password and sources.prod.redis_password_file are given"},
		{small + "    redis_password_file: /nowhere", "line 7: sources.prod.redis_password_file: open /nowhere: file does not exist"},
		{small + "    redis: redis://u:p@r/0", "stands in line 6 already"},
		{strings.Replace(small, "redis://redis", "redis://:p@redis", 1) + "    redis_password: a", "has a password already"},
		{small + "    dump_dir: /d\n    via: sync", "line 7: sources.prod.dump_dir: is for bgsave, and via is sync"},
		{small + "    policies: {q: perhaps}", `"perhaps" is none of at-least-once, at-most-once`},
		{small + "    policies: perhaps", "must be a map"},
		{small + "    schedule: {backup: '61 * * * *'}", "is no cron expression"},
		{small + "    schedule: {backup: '@every 5'}", "takes a duration of whole seconds"},
		{small + "    schedule: {drill: '0 0 30 2 *'}", "names no time that ever comes"},
		{small + "    schedule: {backup: 'TZ=UTC @daily'}", "time zone has a key of its own"},
		{small + "    schedule: {time_zone: Mars}", "is no time zone"},
		{small + "    schedule: {jitter: 5m}", "as long as the time between two runs of backup"},
		{small + "    schedule: {backup: '@daily'}\nalarms: {max_snapshot_age: 30m}", "line 8: alarms.max_snapshot_age: 30m0s would raise an alarm between two runs"},
		{small + "    schedule: {drill_into: 'redis://redis:6379/0'}", "is the source itself"},
		{small + "daemon: {lease_ttl: 1s}", "is too short"},
		{small + "alarms: {webhooks: {a: {url: ftp://x}}}", "is no http:// or https:// URL"},
		{small + "alarms: {webhooks: {a: {}}}", "has no url"},
		{small + "alarms: {webhooks: {a: {url: 'https://x', format: slack, key: k}}}", "is not signed"},
		{small + "alarms: {command: {a: b}}", "must be a list"},
		{small + "  b: {redis: [1]}", "must be one value"},
		{small + "  b/c: {}", "b/c"},
		{strings.Replace(small, "sources:", "  other: {url: /x}\nsources:", 1), "has no store, and there are several: main, other"},
		{strings.Replace(small, "url: /var/lib/rqvault", "", 1), "stores.main: has no url"},
		{"sources: {a: {}}", "stores: names no place for the snapshots of a"},
		{"a: [", "line"},
		{"- a", "must be a map of keys"},
	} {
		_, err := config.Parse([]byte(c.text), with(files))
		if err == nil || !errors.Is(err, config.ErrInvalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s:\ngot  %v\nwant %s", c.text, err, c.want)
		}
	}
}

// All that is wrong is told at once, and nothing only because something else is.
func TestProblemsAreToldTogether(t *testing.T) {
	env := with(nil)
	env.Redis = func(u string) error {
		if !strings.Contains(u, "://") {
			return errors.New("no scheme")
		}
		return nil
	}
	_, err := config.Parse([]byte("stores: {main: {urll: /x}}\nsources:\n  a:\n    redis: localhost:6379\n    viaa: scan\n    store: nope\n"+
		"    schedule: {backup: soon}\nalarms: {max_snapshot_age: 1s}\ndaemon: {lease_ttl: 1s}\n"), env)
	var invalid *config.Invalid
	if !errors.As(err, &invalid) {
		t.Fatal(err)
	}
	var got []string
	for _, p := range invalid.Problems {
		got = append(got, fmt.Sprint(p.Line, " ", p.Path))
	}
	want := []string{"1 stores.main.urll", "4 sources.a.redis", "5 sources.a.viaa", "6 sources.a.store", "7 sources.a.schedule.backup", "9 daemon.lease_ttl"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestStrayVariables(t *testing.T) {
	for variable, want := range map[string]string{
		"RQVAULT_SOURCES_PRD_REDIS=x":                "RQVAULT_SOURCES_PRD_REDIS stands for no key",
		"RQVAULT_SOURCES_PROD_REDSI=x":               "stands for no key",
		"RQVAULT_SOURCES_PROD_VIA=rsync":             "RQVAULT_SOURCES_PROD_VIA: \"rsync\" is none of",
		"RQVAULT_SOURCES_PROD_REDIS_PASSWORD_FILE=x": "RQVAULT_SOURCES_PROD_REDIS_PASSWORD_FILE: open x",
	} {
		if _, err := config.Parse([]byte(small), with(nil, variable)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", variable, err, want)
		}
	}
	two := strings.Replace(small, "  prod:", "  p-d:\n    redis: redis://x\n  p_d:", 1)
	if _, err := config.Parse([]byte(two), with(nil, "RQVAULT_SOURCES_P_D_VIA=scan")); err == nil || !strings.Contains(err.Error(), "several keys") {
		t.Errorf("a variable for two keys: %v", err)
	}
}

// What is printed is read back as the same, but for the secrets, of which none shows.
func TestPrint(t *testing.T) {
	c := parse(t, small+`    redis_password: hunter2
    policies: {"a b": at-most-once, "yes": at-least-once}
    keep: {last: 3, within: 2d}
  other: {redis: "rediss://user:hunter2@r:6380/1?x=y", schedule: {drill_into: "redis://:hunter2@s", backup: "*/10 * * * *"}}
alarms:
  heartbeat_url: https://h/hunter2
  command: [mail, "a b", "-s"]
  webhooks: {x: {url: "https://hooks/hunter2", key: hunter2}}
`, with(nil))
	text := c.Print()
	if strings.Contains(text, "hunter2") {
		t.Errorf("a secret shows:\n%s", text)
	}
	again := strings.ReplaceAll(strings.ReplaceAll(text, "heartbeat_url: \"********\"", "heartbeat_url: https://h"), "url: \"********\"", "url: https://h")
	if got := parse(t, again, with(nil)).Print(); strings.ReplaceAll(got, "https://h", "********") != strings.ReplaceAll(again, "https://h", "\"********\"") && got != text {
		t.Errorf("got\n%s\nwant\n%s", got, text)
	}
}

// The default is a file that works as it is, and names every key.
func TestDefault(t *testing.T) {
	text := config.Default()
	c := parse(t, text, with(nil))
	if s := c.Sources["main"]; s == nil || s.Keep.Daily != 14 || s.Schedule.Drill == "" {
		t.Errorf("the default has %+v", s)
	}
	for _, k := range config.Keys() {
		key := k.Path[strings.LastIndexByte(k.Path, '.')+1:]
		if !strings.Contains(text, key+": ") && !strings.Contains(k.Path, "webhooks") {
			t.Errorf("the default does not name %s", k.Path)
		}
	}
	// With every comment that is a key taken for one, it is the same configuration.
	var all strings.Builder
	for line := range strings.Lines(text) {
		if at := strings.Index(line, "# "); at >= 0 && strings.TrimSpace(line[:at]) == "" {
			if key, _, ok := strings.Cut(line[at+2:], ": "); ok && strings.ToLower(key) == key && !strings.Contains(key, " ") {
				line = line[:at] + line[at+2:]
			}
		}
		all.WriteString(line)
	}
	if got := parse(t, all.String(), with(nil)).Print(); got != c.Print() {
		t.Errorf("with all keys:\n%s\nas it is:\n%s", got, c.Print())
	}
}

func TestSchema(t *testing.T) {
	b, err := config.Schema()
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	for _, k := range config.Keys() {
		at := doc
		for _, part := range strings.Split(k.Path, ".") {
			if part == "NAME" {
				at, _ = at["additionalProperties"].(map[string]any)
				continue
			}
			properties, _ := at["properties"].(map[string]any)
			at, _ = properties[part].(map[string]any)
		}
		if at == nil || at["description"] != k.Doc {
			t.Errorf("the schema does not have %s", k.Path)
		}
	}
}

// docs/config.md and the schema that is shipped are made from the code.
func TestDocs(t *testing.T) {
	page, err := os.ReadFile("../../docs/config.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range config.Keys() {
		value := k.Default
		if k.OneOf != nil {
			value = strings.TrimPrefix(value+"; one of "+strings.Join(k.OneOf, ", "), "; ")
		}
		row := fmt.Sprintf("| `%s` | %s | %s |", k.Path, value, k.Doc)
		if !strings.Contains(string(page), row+"\n") {
			t.Errorf("docs/config.md lacks the row\n%s", row)
		}
	}
	shipped, err := os.ReadFile("../../deploy/rqvault.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	if b, err := config.Schema(); err != nil || string(b)+"\n" != string(shipped) {
		t.Errorf("deploy/rqvault.schema.json is not what rqvault config schema prints (%v)", err)
	}
	example, err := os.ReadFile("../../deploy/rqvault.yml")
	if err != nil {
		t.Fatal(err)
	}
	if string(example) != config.Default() {
		t.Error("deploy/rqvault.yml is not what rqvault config default prints")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(small))
	f.Add([]byte(config.Default()))
	f.Add([]byte("sources: &a {b: *a}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := config.Parse(b, with(nil))
		if err == nil && len(c.Sources) == 0 {
			t.Error("a configuration without a source passed")
		}
		if err != nil && !errors.Is(err, config.ErrInvalid) {
			t.Error(err)
		}
	})
}
