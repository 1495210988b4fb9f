package dir

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"rqvault/internal/snapshot"
)

const (
	tempMark    = ".tmp-"
	tempRandom  = 8   // random bytes in a temporary name
	tempBase    = 160 // bytes kept of the final name; file systems allow 255 in all
	writeBuffer = 64 << 10
	// createTries bounds how often Create makes a directory again that a concurrent
	// Remove found empty and took away.
	createTries = 16
)

// Create implements snapshot.Store: it makes the store, the object's directory and
// a temporary file in it.
func (s *Store) Create(ctx context.Context, key string) (snapshot.Writer, error) {
	const act = "create"
	if err := s.check(ctx, key); err != nil {
		return nil, s.fail(act, key, err)
	}
	if err := makeRoot(s.root); err != nil {
		return nil, s.fail(act, key, err)
	}
	root, err := s.openRoot()
	if err != nil {
		return nil, s.fail(act, key, err)
	}
	temp := tempName(key)
	for try := 1; ; try++ {
		var f *os.File
		err = makeDirs(root, path.Dir(key))
		if err == nil {
			f, err = root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, writingMode)
		}
		if err == nil {
			w := &writer{ctx: ctx, store: s, root: root, key: key, temp: temp, f: f}
			w.buf = bufio.NewWriterSize(f, writeBuffer)
			return w, nil
		}
		if !errors.Is(err, fs.ErrNotExist) || try == createTries {
			_ = root.Close()
			if notThere(err) { // not "no such object": the caller asked to make one
				err = fmt.Errorf("make its directory: %s", err)
			}
			return nil, s.fail(act, key, err)
		}
	}
}

// writer is one object on its way. After done nothing of it is open any more.
type writer struct {
	ctx   context.Context // of Create: Write has no context of its own
	store *Store
	root  *os.Root
	key   string
	temp  string
	f     *os.File
	buf   *bufio.Writer
	err   error // the first failure; nothing can succeed after it
	done  bool
}

var (
	errFinished  = errors.New("the object is committed or given up already")
	errDiscarded = errors.New("its temporary file was removed meanwhile")
)

// Write implements io.Writer.
func (w *writer) Write(p []byte) (int, error) {
	if w.done {
		return 0, w.store.fail("write", w.key, errFinished)
	}
	if w.err == nil {
		w.err = w.ctx.Err()
	}
	if w.err != nil {
		return 0, w.store.fail("write", w.key, w.err)
	}
	n, err := w.buf.Write(p)
	if err != nil {
		w.err = err
		return n, w.store.fail("write", w.key, err)
	}
	return n, nil
}

// Commit implements snapshot.Writer. The order makes a stop at any line harmless:
// until the file has its name it is a leftover, and by then its bytes are on disk.
func (w *writer) Commit(ctx context.Context) error {
	if w.done {
		return w.store.fail("commit", w.key, errFinished)
	}
	err := errors.Join(w.err, w.ctx.Err(), ctx.Err())
	if err == nil {
		err = w.finish()
	}
	if err == nil {
		err = w.publish()
	}
	if err != nil {
		w.Abort()
		return w.store.fail("commit", w.key, err)
	}
	w.done = true
	_ = w.root.Close()
	return nil
}

// finish brings the bytes and the final mode to disk and closes the file.
func (w *writer) finish() error {
	if err := w.buf.Flush(); err != nil {
		return err
	}
	if err := w.f.Chmod(storedMode); err != nil {
		return err
	}
	if err := w.f.Sync(); err != nil {
		return err
	}
	// Network file systems report a full disk or a lost server only here.
	return w.f.Close()
}

// publish gives the finished file its name, create-only, and makes that durable.
func (w *writer) publish() error {
	before, err := w.root.Lstat(w.temp)
	if notThere(err) {
		return errDiscarded
	}
	if err != nil {
		return err
	}
	if err := w.link(); err != nil {
		// A network file system may repeat a request whose answer was lost and then
		// report our own success as a clash. The file under the name decides.
		after, statErr := w.root.Lstat(w.key)
		if statErr != nil || !os.SameFile(before, after) {
			return err
		}
		_ = w.root.Remove(w.temp)
	}
	for dir := path.Dir(w.key); ; dir = path.Dir(dir) {
		if err := syncDir(w.root, dir); err != nil {
			// A name that may be gone after a power cut must not look committed.
			_ = w.root.Remove(w.key)
			return err
		}
		if dir == "." {
			return nil
		}
	}
}

// link moves the temporary file to its final name unless that is taken.
func (w *writer) link() error {
	dir, err := w.root.Open(path.Dir(w.key))
	if err != nil {
		return err
	}
	defer dir.Close()
	err = w.store.rename(dir, path.Base(w.temp), path.Base(w.key))
	if err == nil || !unsupported(err) {
		return err
	}
	if err := w.root.Link(w.temp, w.key); err != nil {
		if unsupported(err) || errors.Is(err, syscall.EPERM) {
			return fmt.Errorf("this file system has neither a rename that never replaces nor hard links: %w", err)
		}
		return err
	}
	_ = w.root.Remove(w.temp) // the object has its name; at worst Abandoned shows the other
	return nil
}

// unsupported says that the file system or the kernel lacks an operation.
func unsupported(err error) bool {
	return errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.EINVAL)
}

// Abort implements snapshot.Writer. It uses no context: a cancelled caller must be
// able to clean up.
func (w *writer) Abort() {
	if w.done {
		return
	}
	w.done = true
	_ = w.f.Close()
	_ = w.root.Remove(w.temp)
	removeEmpty(w.root, path.Dir(w.key))
	_ = w.root.Close()
}

// makeRoot makes the store's directory and those above it, and flushes the names
// of the ones it made.
func makeRoot(root string) error {
	var missing []string
	for dir := root; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) || dir == filepath.Dir(dir) {
			break
		}
		missing = append(missing, dir)
	}
	if len(missing) == 0 {
		return nil
	}
	if err := os.MkdirAll(root, dirMode); err != nil {
		return err
	}
	for _, dir := range missing {
		parent, err := os.Open(filepath.Dir(dir))
		if errors.Is(err, fs.ErrPermission) {
			continue // a parent we may enter but not read: leave its flush to the kernel
		}
		if err != nil {
			return err
		}
		if err := syncAndClose(parent); err != nil {
			return err
		}
	}
	return nil
}

// makeDirs makes dir and its parents inside the root. Commit flushes them all.
func makeDirs(root *os.Root, dir string) error {
	if dir == "." {
		return nil
	}
	return root.MkdirAll(dir, dirMode)
}

// syncDir flushes the names in one directory of the store.
func syncDir(root *os.Root, dir string) error {
	f, err := root.Open(dir)
	if err != nil {
		return err
	}
	return syncAndClose(f)
}

// syncAndClose flushes a directory. File systems that cannot do so for directories
// say EINVAL or ENOTSUP; there is nothing more to be done on those.
func syncAndClose(dir *os.File) error {
	err := dir.Sync()
	if err != nil && unsupported(err) {
		err = nil
	}
	return errors.Join(err, dir.Close())
}

// tempName returns a fresh name beside key that no List shows.
func tempName(key string) string {
	var random [tempRandom]byte
	_, _ = rand.Read(random[:]) // never fails
	base := path.Base(key)
	if len(base) > tempBase {
		base = base[:tempBase]
	}
	return path.Join(path.Dir(key), "."+base+tempMark+hex.EncodeToString(random[:]))
}

// isTemp recognises the last element of what tempName returns, and nothing looser:
// an object may well be called ".something".
func isTemp(base string) bool {
	i := strings.LastIndex(base, tempMark)
	if i < 2 || base[0] != '.' || len(base) != i+len(tempMark)+2*tempRandom {
		return false
	}
	_, err := hex.DecodeString(base[i+len(tempMark):])
	return err == nil
}
