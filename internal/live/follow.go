package live

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// ErrReplaced: the file that FollowRDB took for the save's is not the dump that the server
// put in place. Either another save followed at once, or two servers share a directory.
// SaveRDB can do without following.
var ErrReplaced = errors.New("another dump was put in place than the one that was read while it was written")

// Following is a dump that is read while the server still writes it. Its end (io.EOF)
// comes only once all that SaveRDB proves was proven of the very file that was read.
type Following struct {
	ctx    context.Context
	cancel context.CancelFunc
	v      *save
	f      *os.File
	at     int64         // bytes read
	size   int64         // of the finished file, -1 as long as it is written
	short  time.Time     // since when a finished file seems to have fewer bytes
	over   chan struct{} // closed when the save ended and was judged
	end    *os.File
	info   SaveInfo
	err    error // of the save
}

// FollowRDB is SaveRDB for a caller who reads the dump from its beginning: he need not wait
// until the server has written it. Redis writes a dump front to back into a file of its
// own, temp-PID.rdb beside the old dump, and gives it the dump's name when it is whole;
// that file is opened as soon as its header shows that it is our save's. Where none such
// shows, the finished dump is read.
//
// Errors are those of SaveRDB. They come from here if the server did not begin to save, and
// from Read if that fails later. Close it; a save that still runs goes on in the server.
func (s *Server) FollowRDB(ctx context.Context, o SaveOptions) (*Following, error) {
	v, err := s.beginSave(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("save dump: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	w := &Following{ctx: ctx, cancel: cancel, v: v, size: -1, over: make(chan struct{})}
	go func() {
		defer close(w.over)
		if w.end, w.info, w.err = v.finish(ctx); w.err != nil {
			w.err = fmt.Errorf("save dump: %w", w.err)
		}
	}()
	if err := w.open(); err != nil {
		_ = w.Close()
		return nil, err
	}
	v.silent.Store(true)
	return w, nil
}

// How often the file is looked at: from the first to the last of these times.
const (
	followSoonest = time.Millisecond
	followLatest  = 20 * time.Millisecond
)

// open waits for the file that the server writes, or for the finished one.
func (w *Following) open() error {
	for wait := followSoonest; ; wait = min(2*wait, followLatest) {
		if f := w.v.underWay(); f != nil {
			w.f = f
			return nil
		}
		if w.pause(wait) {
			return w.settle()
		}
	}
}

// pause waits, at most until the save has ended, and reports whether it has.
func (w *Following) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-w.over:
		return true
	case <-timer.C:
		return false
	}
}

// settle is reached once the save has ended: the file that was read must be its.
func (w *Following) settle() error {
	if w.err != nil {
		return w.err
	}
	if w.f == nil {
		w.f, w.size = w.end, w.info.Size
		return nil
	}
	ours, err := w.f.Stat()
	if err != nil {
		return fmt.Errorf("save dump: %w", unreachable(w.info.Path, err.Error()))
	}
	proved, err := w.end.Stat()
	if err != nil {
		return fmt.Errorf("save dump: %w", unreachable(w.info.Path, err.Error()))
	}
	if !os.SameFile(ours, proved) {
		return fmt.Errorf("save dump: %w", ErrReplaced)
	}
	w.size = w.info.Size
	return nil
}

// Read implements io.Reader. It waits for what the server has not written yet.
func (w *Following) Read(p []byte) (int, error) {
	for wait := followSoonest; ; wait = min(2*wait, followLatest) {
		n, err := w.f.Read(p)
		if w.at += int64(n); n > 0 {
			return n, nil
		}
		switch {
		case err != nil && !errors.Is(err, io.EOF):
			return 0, fmt.Errorf("read the dump that the server writes: %w", err)
		case w.size < 0:
			if w.pause(wait) {
				if err := w.settle(); err != nil {
					return 0, err
				}
				w.short = time.Now()
			}
		case w.at >= w.size:
			return 0, io.EOF
		case time.Since(w.short) > settleTime: // a network file system may lag behind, but not longer
			return 0, fmt.Errorf("save dump: %w", unreachable(w.info.Path, fmt.Sprintf("the finished dump has %d bytes, and only %d could be read", w.size, w.at)))
		default:
			if err := sleep(w.ctx, wait); err != nil {
				return 0, err
			}
		}
	}
}

// Close gives the dump up.
func (w *Following) Close() error {
	w.cancel()
	<-w.over
	var err error
	if w.end != nil && w.end != w.f {
		err = w.end.Close()
	}
	if w.f != nil {
		err = errors.Join(err, w.f.Close())
	}
	return err
}

// Started is when the server was asked for the save, by its own clock.
func (w *Following) Started() time.Time { return w.v.askedAt }

// Info describes the dump. It is complete once Read has returned io.EOF.
func (w *Following) Info() SaveInfo {
	<-w.over
	return w.info
}

// temporary lists the files beside a dump in which servers write new ones.
func temporary(path string) (names []string) {
	dir := filepath.Dir(path)
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "temp-") && strings.HasSuffix(e.Name(), ".rdb") {
			names = append(names, filepath.Join(dir, e.Name()))
		}
	}
	return names
}

// leftovers are the temporary files that are there before a save: of one that was killed,
// or of another server.
func leftovers(path string) (all []fs.FileInfo) {
	for _, name := range temporary(path) {
		if st, err := os.Stat(name); err == nil {
			all = append(all, st)
		}
	}
	return all
}

// underWay opens the file that the save writes. It is nil as long as there is none that is
// certainly the save's.
func (v *save) underWay() *os.File {
	var found *os.File
	for _, name := range temporary(v.path) {
		f, err := os.Open(name)
		if err != nil {
			continue
		}
		if !v.isOurs(f) {
			_ = f.Close()
			continue
		}
		if found != nil { // two servers share the directory
			_ = f.Close()
			_ = found.Close()
			return nil
		}
		found = f
	}
	return found
}

// isOurs reports whether a temporary file came after we asked for a save, and names this
// server and a time since then.
func (v *save) isOurs(f *os.File) bool {
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() {
		return false
	}
	for _, old := range v.leftover {
		if os.SameFile(old, st) {
			return false
		}
	}
	h, err := readDumpHeader(f)
	return err == nil && h.ctime >= v.askedAt.Unix()-1 && h.from(v.ours)
}
