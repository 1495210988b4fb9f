package command_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
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

// What Redis cannot save to its own disk is taken over the replication link, also where that
// shows only when half of the dump has been read.
func TestASaveThatBreaksOffIsFollowedByAnotherWay(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.rq(`for i in range(50): queue('q').enqueue('tasks.note', os.urandom(40000), job_id='o%d' % i)`)
	v.s.Do("CONFIG", "SET", "rdb-key-save-delay", "100000") // µs: a save takes five seconds
	done := make(chan result)
	go func() { done <- v.run("backup") }()
	var temp string
	err := redistest.Poll(10*time.Second, func() error {
		found, _ := filepath.Glob(filepath.Join(v.s.Dir(), "temp-*.rdb"))
		if len(found) == 0 {
			return errors.New("no save began")
		}
		temp = found[0]
		if st, err := os.Stat(temp); err != nil || st.Size() < 100<<10 {
			return errors.New("nothing to read yet")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	v.s.Do("CONFIG", "SET", "rdb-key-save-delay", "0")
	var pid int
	if _, err := fmt.Sscanf(filepath.Base(temp), "temp-%d.rdb", &pid); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	r := <-done
	if r.code != 0 || !strings.Contains(r.out, "by sync") || !strings.Contains(r.err, "could not save to its own disk") {
		t.Errorf("exit %d\n%s%s", r.code, r.out, r.err)
	}
	v.want(0, "verify", "--all")
	v.want(0, "diff")
}
