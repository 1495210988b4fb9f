package live_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rqvault/internal/live"
	"rqvault/internal/redistest"
)

// waitFor polls a condition for at most ten seconds.
func waitFor(t *testing.T, what string, cond func() bool) {
	t.Helper()
	if err := redistest.Poll(10*time.Second, func() error {
		if !cond() {
			return errors.New("not yet")
		}
		return nil
	}); err != nil {
		t.Fatalf("waiting for %s: %v", what, err)
	}
}

func fill(r *redistest.Server, n int) {
	r.Do("EVAL", "for i=1,ARGV[1] do redis.call('set', 'k'..i, i) end", 0, n)
}

func saving(r *redistest.Server) bool { return r.Info("persistence", "rdb_bgsave_in_progress") == "1" }

func saveText(t *testing.T, s *live.Server, o live.SaveOptions) (string, live.SaveInfo) {
	t.Helper()
	f, info, err := s.SaveRDB(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(b)) != info.Size {
		t.Errorf("size: got %d, read %d", info.Size, len(b))
	}
	path := filepath.Join(t.TempDir(), "dump.rdb")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("redis-check-rdb", path).CombinedOutput(); err != nil {
		t.Errorf("redis-check-rdb: %v\n%s", err, out)
	}
	return string(b), info
}

func TestSaveIsProvedAndStaysTheSameFile(t *testing.T) {
	t.Parallel()
	r := redistest.Start(t, redistest.WithArgs("--rdbcompression", "no"))
	s := dial(t, r.URL()+"&db=0", live.Options{})
	r.Do("SET", "word", "first-value")
	f, info, err := s.SaveRDB(context.Background(), live.SaveOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if info.Path != r.DumpPath() || info.ForkedAt.IsZero() || info.Superseded || info.FinishedAt.Before(info.Started.Truncate(time.Second)) {
		t.Errorf("info: %+v", info)
	}
	r.Do("SET", "word", "second-value")
	r.Save()
	b, err := io.ReadAll(f)
	if err != nil || !bytes.Contains(b, []byte("first-value")) || bytes.Contains(b, []byte("second-value")) {
		t.Errorf("the open file is not the dump that was asked for (%d bytes, %v)", len(b), err)
	}
}

// LASTSAVE counts whole seconds, so saves that follow each other at once must still
// be told apart: each dump must hold what was written just before.
func TestSavesWithinOneSecond(t *testing.T) {
	t.Parallel()
	r := redistest.Start(t, redistest.WithArgs("--rdbcompression", "no"))
	s := dial(t, r.URL(), live.Options{})
	for i := range 4 {
		word := fmt.Sprintf("round-%d-value", i)
		r.Do("SET", "word", word)
		if i%2 == 1 {
			r.Save() // somebody else's, in the same second
		}
		if text, _ := saveText(t, s, live.SaveOptions{Poll: 5 * time.Millisecond}); !strings.Contains(text, word) {
			t.Errorf("round %d: the dump does not hold %s", i, word)
		}
	}
}

func TestSaveWaitsForAnotherAndMakesItsOwn(t *testing.T) {
	t.Parallel()
	r := redistest.Start(t, redistest.WithArgs("--rdb-key-save-delay", "2000", "--rdbcompression", "no"))
	fill(r, 150)
	s := dial(t, r.URL(), live.Options{})
	r.Do("BGSAVE")
	waitFor(t, "the other save", func() bool { return saving(r) })
	r.Do("SET", "word", "written-after-the-other-fork")
	if _, _, err := s.SaveRDB(context.Background(), live.SaveOptions{}); !errors.Is(err, live.ErrSaveRunning) {
		t.Errorf("without waiting: got %v, want %v", err, live.ErrSaveRunning)
	}
	var waited, done int64
	text, info := saveText(t, s, live.SaveOptions{WaitForOther: true, Poll: 10 * time.Millisecond, Progress: func(p live.SaveProgress) {
		if p.Waiting {
			waited++
		} else {
			done = max(done, p.KeysTotal)
		}
	}})
	if !strings.Contains(text, "written-after-the-other-fork") {
		t.Error("the dump is the other save's")
	}
	if waited == 0 || done != 151 || info.Waited == 0 || info.Took == 0 {
		t.Errorf("progress: waited %d times, %d keys in total, info %+v", waited, done, info)
	}
}

func TestSaveWaitsForAnAOFRewrite(t *testing.T) {
	t.Parallel()
	r := redistest.Start(t, redistest.WithArgs("--appendonly", "yes", "--rdb-key-save-delay", "1000"))
	fill(r, 200)
	s := dial(t, r.URL(), live.Options{})
	r.Do("BGREWRITEAOF")
	waitFor(t, "the rewrite", func() bool { return r.Info("persistence", "aof_rewrite_in_progress") == "1" })
	if _, _, err := s.SaveRDB(context.Background(), live.SaveOptions{}); !errors.Is(err, live.ErrSaveRunning) {
		t.Errorf("without waiting: got %v, want %v", err, live.ErrSaveRunning)
	}
	saveText(t, s, live.SaveOptions{WaitForOther: true})
	_, _, err := s.SaveRDB(context.Background(), live.SaveOptions{WaitForOther: true, Timeout: time.Millisecond, Poll: time.Millisecond})
	if !errors.Is(err, live.ErrSaveTimeout) {
		t.Errorf("1 ms: got %v, want %v", err, live.ErrSaveTimeout)
	}
}

func TestSaveThatNeverEnds(t *testing.T) {
	t.Parallel()
	r := redistest.Start(t, redistest.WithArgs("--rdb-key-save-delay", "100000"))
	fill(r, 200)
	s := dial(t, r.URL(), live.Options{})
	_, _, err := s.SaveRDB(context.Background(), live.SaveOptions{Timeout: 1500 * time.Millisecond})
	if !errors.Is(err, live.ErrSaveTimeout) || !strings.Contains(err.Error(), "of 200 keys") {
		t.Errorf("got %v, want %v with numbers", err, live.ErrSaveTimeout)
	}
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, _, err := s.SaveRDB(ctx, live.SaveOptions{WaitForOther: true}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v", err)
	}
}

func TestSaveThatFails(t *testing.T) {
	t.Parallel()
	r := redistest.Start(t)
	fill(r, 10)
	seen := t.TempDir()
	s := dial(t, r.URL(), live.Options{})
	// The server sits in a directory that is no more; a disk that is full looks the same.
	if err := os.RemoveAll(r.Dir()); err != nil {
		t.Fatal(err)
	}
	_, _, err := s.SaveRDB(context.Background(), live.SaveOptions{Dir: seen})
	if !errors.Is(err, live.ErrSaveFailed) {
		t.Errorf("got %v, want %v", err, live.ErrSaveFailed)
	}
	// A failed save makes PING answer MISCONF on servers with save points.
	r.Do("CONFIG", "SET", "save", "3600 1")
	dial(t, r.URL(), live.Options{})
}

func TestSaveThatIsStopped(t *testing.T) {
	t.Parallel()
	r := redistest.Start(t, redistest.WithArgs("--rdb-key-save-delay", "20000"))
	fill(r, 200)
	s := dial(t, r.URL(), live.Options{})
	errs := make(chan error, 1)
	go func() {
		_, _, err := s.SaveRDB(context.Background(), live.SaveOptions{})
		errs <- err
	}()
	waitFor(t, "the save", func() bool { return saving(r) })
	r.Do("FLUSHALL") // ends the child quietly; the status stays "ok"
	if err := <-errs; !errors.Is(err, live.ErrSaveFailed) {
		t.Errorf("got %v, want %v", err, live.ErrSaveFailed)
	}
}

func TestServerDiesDuringTheSave(t *testing.T) {
	t.Parallel()
	for _, again := range []bool{false, true} {
		r := redistest.Start(t, redistest.WithArgs("--rdb-key-save-delay", "20000"))
		fill(r, 200)
		s := dial(t, r.URL(), live.Options{})
		errs := make(chan error, 1)
		go func() {
			_, _, err := s.SaveRDB(context.Background(), live.SaveOptions{Poll: 500 * time.Millisecond})
			errs <- err
		}()
		waitFor(t, "the save", func() bool { return saving(r) })
		r.Kill()
		if again {
			r.Restart(true)
		}
		if err := <-errs; !errors.Is(err, live.ErrUnreachable) {
			t.Errorf("restarted %v: got %v, want %v", again, err, live.ErrUnreachable)
		}
	}
}

func TestDumpThatCannotBeReached(t *testing.T) {
	t.Parallel()
	r := redistest.Start(t, redistest.WithUser("noconf on >pw ~* +@all -config"), redistest.WithTCP())
	other := redistest.Start(t)
	other.Do("SET", "a", "b")
	other.Save()
	empty, file := t.TempDir(), filepath.Join(t.TempDir(), "file")
	for _, p := range []string{file, filepath.Join(empty, "noise")} {
		if err := os.WriteFile(p, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	asDir := t.TempDir()
	if err := os.Mkdir(filepath.Join(asDir, "dump.rdb"), 0o700); err != nil {
		t.Fatal(err)
	}
	s := dial(t, r.URL(), live.Options{})
	for _, c := range []struct {
		name  string
		opts  live.SaveOptions
		saves string // how many saves the server may have been put to
	}{
		{"no such directory", live.SaveOptions{Dir: "/nonexistent/dir"}, "0"},
		{"a file for a directory", live.SaveOptions{Dir: file}, "0"},
		{"a directory for a file", live.SaveOptions{Dir: asDir}, "0"},
		{"an empty directory", live.SaveOptions{Dir: empty}, "1"},
		{"another server's directory", live.SaveOptions{Dir: other.Dir()}, "2"},
	} {
		_, _, err := s.SaveRDB(context.Background(), c.opts)
		if !errors.Is(err, live.ErrDumpUnreachable) {
			t.Errorf("%s: got %v, want %v", c.name, err, live.ErrDumpUnreachable)
		} else if !strings.Contains(err.Error(), c.opts.Dir) {
			t.Errorf("%s: the error does not name the path: %v", c.name, err)
		}
		if got := r.Info("persistence", "rdb_saves"); got != c.saves {
			t.Errorf("%s: rdb_saves %s, want %s", c.name, got, c.saves)
		}
	}
	limited := dial(t, "redis://noconf:pw@"+r.Addr(), live.Options{})
	if _, _, err := limited.SaveRDB(context.Background(), live.SaveOptions{}); !errors.Is(err, live.ErrDumpUnreachable) {
		t.Errorf("without CONFIG: got %v, want %v", err, live.ErrDumpUnreachable)
	}
	saveText(t, limited, live.SaveOptions{Dir: r.Dir()})
}

// The directory of a server that saves at the very same time must not be taken for
// ours: both dumps are new and both have a fitting time.
func TestDumpOfAnotherServerSavedMeanwhile(t *testing.T) {
	t.Parallel()
	r := redistest.Start(t, redistest.WithArgs("--rdb-key-save-delay", "10000"))
	replica := redistest.Start(t, redistest.WithTCP(), redistest.WithArgs("--repl-diskless-sync-delay", "0"))
	replica.Do("REPLICAOF", "127.0.0.1", "1")
	fill(r, 100)
	// A replica's dump names the replication id, whoever the master is.
	errs := make(chan error, 1)
	s := dial(t, r.URL(), live.Options{})
	go func() {
		_, _, err := s.SaveRDB(context.Background(), live.SaveOptions{Dir: replica.Dir()})
		errs <- err
	}()
	waitFor(t, "the save", func() bool { return saving(r) })
	replica.Save()
	if err := <-errs; !errors.Is(err, live.ErrDumpUnreachable) {
		t.Errorf("got %v, want %v", err, live.ErrDumpUnreachable)
	}
}

func TestSaveRefusesALoadingServer(t *testing.T) {
	t.Parallel()
	r := redistest.Start(t, redistest.WithReadyWhileLoading(), redistest.WithArgs("--key-load-delay", "5000",
		"--loading-process-events-interval-bytes", "1024"))
	s := dial(t, r.URL(), live.Options{})
	r.Do("CONFIG", "SET", "rdbcompression", "no")
	for i := range 1000 {
		r.Do("SET", i, strings.Repeat("xyz", 400))
	}
	r.Save()
	r.Restart(false)
	if _, _, err := s.SaveRDB(context.Background(), live.SaveOptions{}); !errors.Is(err, live.ErrLoading) {
		t.Errorf("got %v, want %v", err, live.ErrLoading)
	}
	f, err := s.Facts(context.Background())
	if err != nil || !f.Persistence.Loading {
		t.Errorf("facts of a loading server: loading %v, %v", f.Persistence.Loading, err)
	}
}
