package live_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"rqvault/internal/live"
	"rqvault/internal/redistest"
)

// slowly is a server whose save takes about 3 s, and whose dump is long enough to show.
func slowly(t *testing.T) *redistest.Server {
	r := redistest.Start(t, redistest.WithArgs("--rdb-key-save-delay", "10000", "--rdbcompression", "no"))
	value := make([]byte, 8<<10)
	_, _ = rand.Read(value)
	for i := range 300 {
		r.Do("SET", fmt.Sprintf("key-%d", i), value)
	}
	return r
}

// begun follows a save and reads its first bytes, while it goes on.
func begun(t *testing.T, r *redistest.Server) (*live.Following, []byte) {
	t.Helper()
	f, err := dial(t, r.URL(), live.Options{}).FollowRDB(context.Background(), live.SaveOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	head := make([]byte, 64<<10)
	if _, err := io.ReadFull(f, head); err != nil {
		t.Fatal(err)
	}
	if !saving(r) {
		t.Fatal("the save was over before its first bytes were read")
	}
	return f, head
}

func TestADumpIsReadWhileItIsWritten(t *testing.T) {
	t.Parallel()
	r := slowly(t)
	f, head := begun(t, r)
	r.Do("SET", "later", "not-in-this-dump")
	rest, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(r.DumpPath())
	if err != nil {
		t.Fatal(err)
	}
	if got := append(head, rest...); !bytes.Equal(got, want) || bytes.Contains(got, []byte("not-in-this-dump")) {
		t.Errorf("%d bytes were read, and they are not the %d of the dump", len(got), len(want))
	}
	if info := f.Info(); info.Size != int64(len(want)) || info.Path != r.DumpPath() || info.ForkedAt.IsZero() || f.Started().IsZero() {
		t.Errorf("info: %+v", info)
	}
	if n, err := f.Read(head); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %d bytes and %v", n, err)
	}
}

// What a small server writes shows only when it is whole.
func TestADumpTooSmallToFollow(t *testing.T) {
	t.Parallel()
	r := redistest.Start(t)
	r.Do("SET", "a", "b")
	s := dial(t, r.URL(), live.Options{})
	for range 3 {
		f, err := s.FollowRDB(context.Background(), live.SaveOptions{})
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(f)
		if err != nil || int64(len(b)) != f.Info().Size {
			t.Errorf("%d bytes of %d, %v", len(b), f.Info().Size, err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestFollowedSavesThatFail(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		do   func(t *testing.T, r *redistest.Server)
		want error
	}{
		{"its process is killed", func(t *testing.T, r *redistest.Server) { endSaver(t, r) }, live.ErrSaveFailed},
		{"stopped by FLUSHALL", func(_ *testing.T, r *redistest.Server) { r.Do("FLUSHALL") }, live.ErrSaveFailed},
		{"the server dies", func(_ *testing.T, r *redistest.Server) { r.Kill() }, live.ErrUnreachable},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := slowly(t)
			f, _ := begun(t, r)
			c.do(t, r)
			if _, err := io.Copy(io.Discard, f); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

// endSaver kills the child that saves, as a machine short of memory does.
func endSaver(t *testing.T, r *redistest.Server) {
	t.Helper()
	names, _ := filepath.Glob(filepath.Join(r.Dir(), "temp-*.rdb"))
	var pid int
	if len(names) != 1 {
		t.Fatalf("temporary files: %v", names)
	}
	if _, err := fmt.Sscanf(filepath.Base(names[0]), "temp-%d.rdb", &pid); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

func TestFollowingIsGivenUp(t *testing.T) {
	t.Parallel()
	r := slowly(t)
	f, _ := begun(t, r)
	began := time.Now()
	if err := f.Close(); err != nil || time.Since(began) > 2*time.Second {
		t.Errorf("close: %v after %s", err, time.Since(began))
	}
	if !saving(r) {
		t.Error("the server's save did not go on")
	}
}

// A file that looks like the save's own is not the dump that the server puts in place.
func TestAnotherServersTemporaryFile(t *testing.T) {
	t.Parallel()
	// Its own file stays empty until the end: all of it fits into the buffer.
	r := redistest.Start(t, redistest.WithArgs("--rdb-key-save-delay", "20000"))
	fill(r, 50)
	other := redistest.Start(t)
	other.Do("SET", "a", strings.Repeat("b", 100))
	stale := filepath.Join(r.Dir(), "temp-1.rdb")
	plant := func(name string) {
		other.Save()
		if out, err := exec.Command("cp", other.DumpPath(), name).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	}
	plant(stale) // of a save that was killed before
	s := dial(t, r.URL(), live.Options{})
	f, err := s.FollowRDB(context.Background(), live.SaveOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(f); err != nil || int64(len(b)) != f.Info().Size {
		t.Errorf("beside a leftover: %d bytes of %d, %v", len(b), f.Info().Size, err)
	}
	_ = f.Close()
	planted := false
	f, err = s.FollowRDB(context.Background(), live.SaveOptions{Progress: func(p live.SaveProgress) {
		if !planted && !p.Waiting {
			planted = true
			plant(filepath.Join(r.Dir(), "temp-2.rdb"))
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.Copy(io.Discard, f); !errors.Is(err, live.ErrReplaced) {
		t.Errorf("got %v, want %v", err, live.ErrReplaced)
	}
}
