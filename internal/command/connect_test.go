package command_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"rqvault/internal/redistest"
)

// enqueue puts a few jobs into a database.
const enqueueIn = `
import os, redis
from rq import Queue
c = redis.Redis.from_url(os.environ['REDIS_URL'], db=%d)
for i in range(3):
    Queue('q', connection=c).enqueue('os.getpid', job_id='j%%d' %% i)
`

// TestTheWholeJobThroughEveryKindOfConnection goes through all commands over each kind
// of connection and by each way that it allows.
func TestTheWholeJobThroughEveryKindOfConnection(t *testing.T) {
	sentinel := func(v *vault) string {
		s := redistest.StartSentinel(t, "main", v.s)
		return fmt.Sprintf("redis+sentinel://%s/main/0", s.Addr())
	}
	for _, c := range []struct {
		name string
		opts []redistest.Option
		url  func(v *vault) string
		db   int
	}{
		{name: "tcp with a password", opts: []redistest.Option{redistest.WithTCP(), redistest.WithPassword("s3cr:t@/?")}},
		{name: "tls with a client certificate", opts: []redistest.Option{redistest.WithTLS()}},
		{name: "unix socket, database 9", db: 9},
		{name: "an acl user", opts: []redistest.Option{redistest.WithTCP(), redistest.WithUser("bob on >pw ~* &* +@all")},
			url: func(v *vault) string { return "redis://bob:pw@" + v.s.Addr() + "/0" }},
		{name: "sentinel", opts: []redistest.Option{redistest.WithTCP()}, url: sentinel},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			v := newVault(t, c.opts...)
			redistest.RQ(t, v.s, fmt.Sprintf(enqueueIn, c.db))
			if c.url != nil {
				v.redis = c.url(v)
			}
			for _, via := range []string{"bgsave", "sync", "scan"} {
				v.want(0, "backup", "--via", via)
				v.want(0, "verify")
				v.want(0, "diff")
				v.s.Do("FLUSHALL")
				v.want(3, "diff")
				if got := v.restore(0, "--apply"); got.Counts["restored"] != 3 {
					t.Fatalf("by %s: %v restored, want 3", via, got.Counts)
				}
				v.want(0, "diff")
			}
		})
	}
}

// documented reads the rights that docs/cli.md lists for a command.
func documented(t testing.TB, command string) string {
	t.Helper()
	doc, err := os.ReadFile(filepath.Join("..", "..", "docs", "cli.md"))
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("(?m)^\\| `" + regexp.QuoteMeta(command) + "`[^|]*\\| (.*) \\|$").FindStringSubmatch(string(doc))
	if row == nil {
		t.Fatalf("docs/cli.md lists no rights for %s", command)
	}
	var rights []string
	for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[1], -1) {
		if strings.ContainsAny(m[1], "+~") { // the others are names of commands
			rights = append(rights, strings.ReplaceAll(m[1], `\|`, "|"))
		}
	}
	return strings.Join(rights, " ")
}

// TestTheDocumentedRightsAreEnough runs each command as a user with exactly the rights
// that docs/cli.md says it needs.
func TestTheDocumentedRightsAreEnough(t *testing.T) {
	base := documented(t, "backup --via scan")
	diff := base + " " + documented(t, "diff")
	users := map[string]string{
		"bgsave": documented(t, "backup --via bgsave"), "sync": documented(t, "backup --via sync"), "scan": base,
		"diff": diff, "restore": diff + " " + documented(t, "restore --apply"),
	}
	opts := []redistest.Option{redistest.WithTCP()}
	for name, rights := range users {
		opts = append(opts, redistest.WithUser(name+" on >pw resetchannels "+rights))
	}
	v := newVault(t, opts...)
	redistest.RQ(t, v.s, fmt.Sprintf(enqueueIn, 0))
	as := func(user string) { v.redis = "redis://" + user + ":pw@" + v.s.Addr() + "/0" }
	for _, via := range []string{"bgsave", "sync", "scan"} {
		as(via)
		v.want(0, "backup", "--via", via)
	}
	v.s.Do("FLUSHALL")
	as("diff")
	v.want(3, "diff")
	as("restore")
	v.want(0, "restore", "--apply")
	as("diff")
	v.want(0, "diff")
	as("sync")
	if r := v.want(1, "backup", "--via", "scan"); !strings.Contains(r.err, "next: ") || strings.Contains(r.err, "pw") {
		t.Errorf("a user without rights for scan is told %q", r.err)
	}
}
