// Package dir keeps a store in a plain directory: one file per object, named by
// its key. Any tool that copies files can read, move or mirror such a store.
//
// An object is written to a temporary file beside its final name,
//
//	<root>/<key's directory>/.<base>.tmp-<16 hex digits>
//
// made read-only, flushed to disk and only then given its name, in one step that
// fails if the name is taken: renameat2 with RENAME_NOREPLACE on Linux, a hard link
// elsewhere and on file systems without that flag. A plain rename would replace the
// object of whoever came first. The directories up to the root are flushed before
// Commit returns, so what was reported as stored survives a power cut.
//
// Files are 0600 while written and 0400 afterwards, directories 0700: dumps hold
// the application's data. Every access goes through os.Root, so neither a key nor a
// symbolic link inside the store can lead out of it.
package dir

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"rqvault/internal/snapshot"
)

const (
	dirMode     = 0o700 // of directories we make
	writingMode = 0o600 // of a file nobody may rely on yet
	storedMode  = 0o400 // of a finished object: nothing is ever changed in place
)

// Store is a directory as a snapshot.Store. It holds no open file between calls,
// so the directory may be unmounted, moved or recreated while the Store lives.
type Store struct {
	root   string     // absolute
	rename renameFunc // never replaces; replaced by tests that need the fallback
}

var _ snapshot.Store = (*Store)(nil)

// Open names the directory that holds the store. Nothing is read or made: the
// directory comes into being with the first object, and until then reads report
// snapshot.ErrNoStore.
func Open(root string) (*Store, error) {
	if root == "" {
		return nil, errors.New("open directory store: empty path")
	}
	abs, err := filepath.Abs(root)
	if err != nil {
		return nil, fmt.Errorf("open directory store %s: %w", root, err)
	}
	return &Store{root: abs, rename: renameNoReplace}, nil
}

// String returns the directory's absolute path.
func (s *Store) String() string { return s.root }

// Open implements snapshot.Store.
func (s *Store) Open(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	const act = "read"
	if err := s.check(ctx, key); err != nil {
		return nil, s.fail(act, key, err)
	}
	if offset < 0 || length < -1 {
		return nil, s.fail(act, key, fmt.Errorf("impossible range: offset %d, length %d", offset, length))
	}
	root, err := s.openRoot()
	if err != nil {
		return nil, s.fail(act, key, err)
	}
	defer root.Close()
	size, err := objectSize(root, key)
	if err != nil {
		return nil, s.fail(act, key, err)
	}
	if offset > size || length > size-offset {
		return nil, s.fail(act, key, fmt.Errorf("range from %d of length %d in an object of %d bytes: %w",
			offset, length, size, io.ErrUnexpectedEOF))
	}
	if length < 0 {
		length = size - offset
	}
	f, err := root.Open(key)
	if err != nil {
		return nil, s.fail(act, key, err)
	}
	r := &reader{ctx: ctx, store: s, key: key, f: f, left: length}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		_ = f.Close()
		return nil, s.fail(act, key, err)
	}
	return r, nil
}

// reader yields exactly left more bytes of an object's file.
type reader struct {
	ctx   context.Context // of Open: an io.Reader has no other way to learn of a cancellation
	store *Store
	key   string
	f     *os.File
	left  int64
}

func (r *reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, r.store.fail("read", r.key, err)
	}
	if r.left == 0 {
		return 0, io.EOF
	}
	if int64(len(p)) > r.left {
		p = p[:r.left]
	}
	n, err := r.f.Read(p)
	r.left -= int64(n)
	if err == io.EOF {
		// The file was longer when it was opened: somebody cut it.
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return n, r.store.fail("read", r.key, err)
	}
	return n, nil
}

func (r *reader) Close() error { return r.f.Close() }

// Stat implements snapshot.Store.
func (s *Store) Stat(ctx context.Context, key string) (snapshot.Object, error) {
	const act = "stat"
	if err := s.check(ctx, key); err != nil {
		return snapshot.Object{}, s.fail(act, key, err)
	}
	root, err := s.openRoot()
	if err != nil {
		return snapshot.Object{}, s.fail(act, key, err)
	}
	defer root.Close()
	info, err := root.Lstat(key)
	if err == nil && !info.Mode().IsRegular() {
		err = snapshot.ErrNotFound
	}
	if err != nil {
		return snapshot.Object{}, s.fail(act, key, err)
	}
	return snapshot.Object{Key: key, Size: info.Size(), Modified: info.ModTime()}, nil
}

// Remove implements snapshot.Store. The removal is flushed to disk before it
// returns, since callers remove in an order that must hold across a power cut.
// Directories that became empty go too, so that a listing stays short.
func (s *Store) Remove(ctx context.Context, key string) error {
	if err := s.check(ctx, key); err != nil {
		return s.fail("remove", key, err)
	}
	return s.unlink("remove", key)
}

// Discard implements snapshot.Store. It refuses anything but a temporary file.
func (s *Store) Discard(ctx context.Context, o snapshot.Object) error {
	const act = "discard"
	if err := ctx.Err(); err != nil {
		return s.fail(act, o.Key, err)
	}
	if !fs.ValidPath(o.Key) || !isTemp(path.Base(o.Key)) {
		return s.fail(act, o.Key, errors.New("not a leftover of a broken write"))
	}
	return s.unlink(act, o.Key)
}

// unlink removes one file and the directories it leaves empty.
func (s *Store) unlink(act, key string) error {
	root, err := s.openRoot()
	if err != nil {
		return s.fail(act, key, err)
	}
	defer root.Close()
	info, err := root.Lstat(key)
	if notThere(err) || (err == nil && info.IsDir()) {
		return nil // a directory is no object
	}
	if err != nil {
		return s.fail(act, key, err)
	}
	if err := root.Remove(key); err != nil && !notThere(err) {
		return s.fail(act, key, err)
	}
	parent := path.Dir(key)
	if err := syncDir(root, parent); err != nil && !notThere(err) {
		return s.fail(act, key, err)
	}
	removeEmpty(root, parent)
	return nil
}

// removeEmpty removes dir and the directories above it as far as they are empty,
// but never the root. Best effort: an empty directory harms nobody.
func removeEmpty(root *os.Root, dir string) {
	for ; dir != "."; dir = path.Dir(dir) {
		// The kernel refuses to remove a directory that holds anything; a regular
		// file cannot stand here, since dir is the parent of a path that existed.
		if root.Remove(dir) != nil {
			return
		}
	}
}

// check tells whether a call may go on: a live context and a key that is a plain
// relative path and not the name of a temporary file.
func (s *Store) check(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if key == "." || !fs.ValidPath(key) || strings.ContainsRune(key, 0) {
		return fmt.Errorf("invalid object key %q", key)
	}
	if isTemp(path.Base(key)) {
		return fmt.Errorf("object key %q is reserved for temporary files", key)
	}
	return nil
}

// openRoot opens the store's directory for one operation.
func (s *Store) openRoot() (*os.Root, error) {
	root, err := os.OpenRoot(s.root)
	if err == nil {
		return root, nil
	}
	// os.OpenRoot has an error of its own for files, which cannot be tested for.
	if info, statErr := os.Stat(s.root); statErr == nil && !info.IsDir() {
		return nil, fmt.Errorf("%w: %s is not a directory", snapshot.ErrNoStore, s.root)
	}
	if notThere(err) {
		return nil, snapshot.ErrNoStore
	}
	return nil, err
}

// objectSize returns the size of an object and refuses what is no regular file:
// opening a named pipe, for one, would wait for ever.
func objectSize(root *os.Root, key string) (int64, error) {
	info, err := root.Lstat(key)
	if err != nil {
		return 0, err
	}
	if !info.Mode().IsRegular() {
		return 0, snapshot.ErrNotFound
	}
	return info.Size(), nil
}

// notThere says that a path leads nowhere, or through something that is a file.
func notThere(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// fail wraps an error with the act and the file it concerns, in the Store's words.
// The operating system's own wrapping is dropped: it repeats the path.
func (s *Store) fail(act, key string, err error) error {
	var pathErr *fs.PathError
	var linkErr *os.LinkError
	switch {
	case errors.As(err, &pathErr):
		err = pathErr.Err
	case errors.As(err, &linkErr):
		err = linkErr.Err
	}
	switch {
	case notThere(err):
		err = snapshot.ErrNotFound
	case errors.Is(err, fs.ErrExist):
		err = snapshot.ErrExists
	case errors.Is(err, fs.ErrPermission):
		err = fmt.Errorf("%w: %w", snapshot.ErrDenied, err)
	}
	return fmt.Errorf("%s %s: %w", act, filepath.Join(s.root, filepath.FromSlash(key)), err)
}
