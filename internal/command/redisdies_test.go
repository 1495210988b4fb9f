package command_test

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"rqvault/internal/redistest"
)

// stored lists every file of a directory store, hidden ones too, and what verify writes
// not.
func (v *vault) stored() []string {
	v.t.Helper()
	var files []string
	err := filepath.WalkDir(v.store, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !strings.Contains(path, "/verified/") {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		v.t.Fatal(err)
	}
	return files
}

func TestRedisDyingInTheMiddleOfABackupLeavesNothing(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ via, field string }{
		{"bgsave", "rdb_bgsave_in_progress"},
		{"sync", "rdb_bgsave_in_progress"},
		{"scan", ""},
	} {
		t.Run(c.via, func(t *testing.T) {
			t.Parallel()
			v := newVault(t)
			v.rq(`for i in range(50): queue('q').enqueue('tasks.note', os.urandom(40000), job_id='o%d' % i)`)
			v.backup()
			before := v.stored()
			v.s.Do("CONFIG", "SET", "rdb-key-save-delay", "100000") // µs: a save takes five seconds
			var r result
			if c.field != "" {
				done := make(chan struct{})
				go func() {
					defer close(done)
					r = v.run("backup", "--via", c.via)
				}()
				err := redistest.Poll(10*time.Second, func() error {
					if v.s.Info("persistence", c.field) != "1" {
						return errors.New("no save began")
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				v.s.Kill()
				<-done
			} else {
				g := newGate(t, v.s.Socket(), "dump")
				pid := v.s.Pid()
				g.arm(20, func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
				r = v.run("backup", "--via", c.via, "--redis", g.url())
			}
			if r.code != 1 || !strings.Contains(r.err, "rqvault: ") || !strings.Contains(r.err, "next: ") || strings.Contains(r.out, "saved") {
				t.Errorf("exit %d, want 1 with a next step\n%s%s", r.code, r.out, r.err)
			}
			if after := v.stored(); !slices.Equal(after, before) {
				t.Errorf("the store holds %q, want %q", after, before)
			}
			v.want(0, "verify")
			v.s.Restart(true)
			v.want(0, "backup", "--via", c.via)
			v.want(0, "verify", "--all")
		})
	}
}
