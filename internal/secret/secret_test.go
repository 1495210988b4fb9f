package secret_test

import (
	"os"
	"path/filepath"
	"testing"

	"rqvault/internal/secret"
)

func TestWithoutPassword(t *testing.T) {
	for in, want := range map[string]string{
		"redis://:s3cret@host:6379/0":             "redis://:…@host:6379/0",
		"rediss://user:p@ss:w@rd@host/0?db=1":     "rediss://user:…@host/0?db=1",
		"redis+sentinel://u:pw@a:1,b:2/master/0":  "redis+sentinel://u:…@a:1,b:2/master/0",
		"unix://:pw@/run/redis/redis.sock?db=2":   "unix://:…@/run/redis/redis.sock?db=2",
		"redis://host:6379/0":                     "redis://host:6379/0",
		"redis://user@host:6379/0":                "redis://user@host:6379/0",
		"/var/lib/rqvault":                        "/var/lib/rqvault",
		"tried redis://:%zz@h and redis://:b@h:1": "tried redis://:…@h and redis://:…@h:1",
	} {
		if got := secret.WithoutPassword(in); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

func TestReadLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(path, []byte(" s3cret\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := secret.ReadLine(path); err != nil || got != " s3cret" {
		t.Errorf("%q, %v", got, err)
	}
	if err := os.Truncate(path, 2<<20); err != nil {
		t.Fatal(err)
	}
	if _, err := secret.ReadLine(path); err == nil {
		t.Error("two megabytes are taken for a secret")
	}
	if _, err := secret.ReadLine(path + "x"); !os.IsNotExist(err) {
		t.Errorf("a missing file: %v", err)
	}
}
