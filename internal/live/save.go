package live

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// SaveOptions are the choices for SaveRDB. The zero value is useful on the
// server's own machine.
type SaveOptions struct {
	// Dir is where the server's data directory is seen from here, for a shared
	// volume. Empty means the path that the server names, on the same machine.
	Dir string
	// File is the dump's name in Dir. Empty means the name the server tells, and
	// dump.rdb if it tells none.
	File string
	// Timeout bounds the whole call, the wait for another save included. A save
	// that runs into it goes on in the server. Default 30 minutes.
	Timeout time.Duration
	// Poll is the longest time between two looks at the server. Default 100 ms. At the
	// beginning it looks more often, so that a short save is not followed by a long wait.
	Poll time.Duration
	// WaitForOther waits for a save or AOF rewrite that already runs and then makes
	// our own. Otherwise such a server is refused with ErrSaveRunning.
	WaitForOther bool
	// Progress is called at each look, from the calling goroutine.
	Progress func(SaveProgress)
}

// SaveProgress is how far a save is.
type SaveProgress struct {
	Waiting   bool          // for another save or rewrite to end; false while ours runs
	Elapsed   time.Duration // since SaveRDB began
	KeysDone  int64         // 0 before Redis 7.0
	KeysTotal int64
}

// SaveInfo describes a dump that was made and proved.
type SaveInfo struct {
	Path       string        `json:"path"`
	Size       int64         `json:"size"` // bytes
	Started    time.Time     `json:"started"`
	ForkedAt   time.Time     `json:"forked_at"` // the dump's own creation time, seconds; zero if it has none
	FinishedAt time.Time     `json:"finished_at"`
	Waited     time.Duration `json:"waited"`     // for other saves
	Took       time.Duration `json:"took"`       // from BGSAVE to its end, as seen from here
	Superseded bool          `json:"superseded"` // a later save began before we looked; the dump may be its
}

func (o SaveOptions) withDefaults() SaveOptions {
	if o.Timeout <= 0 {
		o.Timeout = 30 * time.Minute
	}
	if o.Poll <= 0 {
		o.Poll = 100 * time.Millisecond
	}
	return o
}

// SaveRDB makes the server write its dump and opens the file. What it returns is
// proved: the server says that a save begun at our request ended well, and the file
// was put in place after we asked, carries a creation time within the save, and
// does not carry another server's replication id. The file stays this dump though
// later saves replace it; the caller closes it.
//
// That the file can be reached is checked first, so that no server is made to fork
// for a dump nobody can read. Times in SaveInfo are by the server's clock.
//
// Errors wrap ErrSaveRunning, ErrSaveFailed, ErrSaveTimeout, ErrDumpUnreachable,
// ErrNoSpace, ErrLoading, ErrUnreachable, ErrDenied or ErrAuth.
func (s *Server) SaveRDB(ctx context.Context, o SaveOptions) (*os.File, SaveInfo, error) {
	v, err := s.beginSave(ctx, o)
	if err != nil {
		return nil, SaveInfo{}, fmt.Errorf("save dump: %w", err)
	}
	f, info, err := v.finish(ctx)
	if err != nil {
		return nil, SaveInfo{}, fmt.Errorf("save dump: %w", err)
	}
	return f, info, nil
}

// beginSave makes the server begin to write its dump.
func (s *Server) beginSave(ctx context.Context, o SaveOptions) (*save, error) {
	o = o.withDefaults()
	v := &save{s: s, o: o, began: time.Now()}
	var err error
	if v.path, err = s.locateDump(ctx, o); err == nil {
		err = v.start(ctx)
	}
	return v, err
}

// finish waits for the end of the save and proves its dump.
func (v *save) finish(ctx context.Context) (*os.File, SaveInfo, error) {
	end, err := v.await(ctx)
	if err != nil {
		return nil, SaveInfo{}, err
	}
	return v.collect(ctx, end)
}

// save is one run of SaveRDB.
type save struct {
	s       *Server
	o       SaveOptions
	path    string
	began   time.Time   // ours, monotonic
	started time.Time   // ours, when BGSAVE was accepted
	silent  atomic.Bool // nobody wants to know any more how far it is

	leftover []fs.FileInfo // temporary files that were there before BGSAVE
	before   fingerprint   // the file in place before BGSAVE
	base     infoFields    // INFO right before BGSAVE, in the same pipeline
	ours     infoFields    // INFO right after BGSAVE, in the same pipeline
	askedAt  time.Time     // server's clock before BGSAVE
	askedLoc time.Time     // our clock before BGSAVE
}

// start waits until a save can be told from the one before it, and begins ours.
func (v *save) start(ctx context.Context) error {
	for {
		in, err := v.s.info(ctx, "")
		if err != nil {
			return err
		}
		if !in.has("rdb_last_save_time") {
			return fmt.Errorf("prove a save: %w: INFO shows no persistence section", ErrDenied)
		}
		if in.flag("loading") || in.flag("async_loading") {
			return ErrLoading
		}
		busy := busyWith(in)
		if busy != "" && !v.o.WaitForOther {
			return fmt.Errorf("%w: %s", ErrSaveRunning, busy)
		}
		if busy == "" {
			begun, err := v.try(ctx, in)
			if begun || err != nil {
				return err
			}
			busy = "the clock second of the save before"
		}
		v.report(in, true)
		if err := v.pause(ctx); err != nil {
			return fmt.Errorf("wait for %s: %w", busy, err)
		}
	}
}

func busyWith(in infoFields) string {
	switch {
	case in.flag("rdb_bgsave_in_progress"):
		return "another save or a replica's full sync"
	case in.flag("aof_rewrite_in_progress"):
		return "an AOF rewrite"
	case in.flag("module_fork_in_progress"):
		return "a module's fork"
	}
	return ""
}

// try sends BGSAVE if the server's clock has left the second of the last save:
// LASTSAVE counts whole seconds, and only a changed one shows that a save succeeded.
// It reports false, without an error, if the server was busy after all.
func (v *save) try(ctx context.Context, in infoFields) (bool, error) {
	now, _, err := v.s.clock(ctx)
	if errors.Is(err, ErrDenied) {
		now, err = time.Unix(in.num("rdb_last_save_time")+1, 0), nil
	}
	if err != nil || now.Unix() == in.num("rdb_last_save_time") {
		return false, err
	}
	v.askedAt, v.askedLoc = now, v.s.opts.Now()
	if v.before, err = takeFingerprint(v.path); err != nil {
		return false, err
	}
	v.leftover = leftovers(v.path)
	base, bgsave, ours := redis.NewStringCmd(ctx, "info"), redis.NewStatusCmd(ctx, "bgsave"), redis.NewStringCmd(ctx, "info")
	err = v.s.exec(permitSave(ctx), v.s.target.DB, base, bgsave, ours)
	if r := replyError(err); r != nil && isBusyReply(r) {
		if !v.o.WaitForOther {
			return false, fmt.Errorf("%w: %w", ErrSaveRunning, r)
		}
		return false, nil
	}
	if err != nil {
		return false, wrap(ctx, "start BGSAVE", err)
	}
	v.base, v.ours, v.started = parseInfo(base.Val()), parseInfo(ours.Val()), time.Now()
	return true, nil
}

func isBusyReply(r *ReplyError) bool {
	return strings.Contains(r.Text, "in progress") || strings.Contains(r.Text, "child process") ||
		strings.Contains(r.Text, "AOF")
}

// await returns the first INFO in which our save is over.
func (v *save) await(ctx context.Context) (infoFields, error) {
	in, last := v.ours, int64(0)
	for {
		if in.str("run_id") != v.base.str("run_id") {
			return nil, fmt.Errorf("%w: the server restarted during the save", ErrUnreachable)
		}
		seconds := in.num("rdb_current_bgsave_time_sec")
		younger := !in.has("rdb_saves") && seconds < last
		if !in.flag("rdb_bgsave_in_progress") || v.superseded(in) || younger {
			return in, nil
		}
		last = seconds
		v.report(in, false)
		if err := v.pause(ctx); err != nil {
			return nil, fmt.Errorf("%w: %d of %d keys written", err,
				in.num("current_save_keys_processed"), in.num("current_save_keys_total"))
		}
		var err error
		if in, err = v.s.info(ctx, ""); err != nil {
			return nil, err
		}
	}
}

// superseded reports whether a later save began, which means that ours is over.
// Servers before 7.0 do not count their saves; there a running save that is younger
// than it was at the last look is another one.
func (v *save) superseded(in infoFields) bool { return in.num("rdb_saves") != v.ours.num("rdb_saves") }

func (v *save) report(in infoFields, waiting bool) {
	if v.o.Progress == nil || v.silent.Load() {
		return
	}
	v.o.Progress(SaveProgress{
		Waiting: waiting, Elapsed: time.Since(v.began),
		KeysDone: in.num("current_save_keys_processed"), KeysTotal: in.num("current_save_keys_total"),
	})
}

// pause waits for the next look, or returns why there is none.
func (v *save) pause(ctx context.Context) error {
	left := v.o.Timeout - time.Since(v.began)
	if left <= 0 {
		return fmt.Errorf("%w: not over after %s", ErrSaveTimeout, time.Since(v.began).Round(time.Millisecond))
	}
	const soonest, share = 5 * time.Millisecond, 32 // of the time that has passed
	return sleep(ctx, min(v.o.Poll, max(soonest, time.Since(v.began)/share), left))
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// collect judges the save by what the server says and by the file itself.
func (v *save) collect(ctx context.Context, end infoFields) (*os.File, SaveInfo, error) {
	superseded := v.superseded(end)
	status := end.str("rdb_last_bgsave_status")
	if !superseded && status != "ok" {
		return nil, SaveInfo{}, fmt.Errorf("%w: rdb_last_bgsave_status is %q", ErrSaveFailed, status)
	}
	took := time.Since(v.started)
	d, err := v.openProved(ctx, end)
	if err != nil {
		if end.str("rdb_last_save_time") == v.base.str("rdb_last_save_time") && ctx.Err() == nil {
			return nil, SaveInfo{}, fmt.Errorf("%w: the server stopped it before its end (the last successful save is still that of %s)",
				ErrSaveFailed, time.Unix(v.base.num("rdb_last_save_time"), 0).UTC().Format(time.RFC3339))
		}
		return nil, SaveInfo{}, err
	}
	return d.file, SaveInfo{
		Path: v.path, Size: d.size, Started: v.askedAt, ForkedAt: d.forkedAt,
		FinishedAt: time.Unix(end.num("rdb_last_save_time"), 0),
		Waited:     v.started.Sub(v.began), Took: took, Superseded: superseded,
	}, nil
}
