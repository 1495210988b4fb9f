package dir

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path"
	"time"

	"rqvault/internal/lease"
	"rqvault/internal/snapshot"
)

// lockPoll is how often a lock is tried again that another process has. It is held for
// two system calls' time.
const lockPoll = 2 * time.Millisecond

// cell is a file that is only ever replaced, under a lock on its directory. The lock (flock)
// counts between processes of one host. A process that is stopped while it has the lock
// keeps all others from writing until it goes on or dies; so the file is written and
// flushed before the lock is taken.
type cell struct {
	store *Store
	key   string
}

// Cell returns the cell under that key. Nothing is read or made. The tag is the value's
// digest.
func (s *Store) Cell(key string) (lease.Cell, error) {
	if err := s.check(context.Background(), key); err != nil {
		return nil, s.fail("open cell", key, err)
	}
	return &cell{s, key}, nil
}

// Load implements lease.Cell.
func (c *cell) Load(ctx context.Context) ([]byte, string, error) {
	const act = "read"
	if err := ctx.Err(); err != nil {
		return nil, "", c.store.fail(act, c.key, err)
	}
	root, err := c.store.openRoot()
	if errors.Is(err, snapshot.ErrNoStore) && !exists(c.store.root) {
		return nil, "", nil // it comes into being with the first object
	}
	if err != nil {
		return nil, "", c.store.fail(act, c.key, err)
	}
	defer root.Close()
	value, tag, err := c.read(root)
	if err != nil {
		return nil, "", c.store.fail(act, c.key, err)
	}
	return value, tag, nil
}

// exists reports whether there is anything at path.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return !notThere(err)
}

// read returns the value and its tag. Values are renamed into place whole.
func (c *cell) read(root *os.Root) ([]byte, string, error) {
	size, err := objectSize(root, c.key)
	if notThere(err) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", err
	}
	if size > lease.MaxValue {
		return nil, "", fmt.Errorf("it has %d bytes, of %d allowed", size, lease.MaxValue)
	}
	value, err := root.ReadFile(c.key)
	if err != nil {
		return nil, "", err
	}
	return value, tagOf(value), nil
}

func tagOf(value []byte) string {
	sum := sha256.Sum256(value)
	return hex.EncodeToString(sum[:])
}

// Swap implements lease.Cell. A crash at any line leaves the old value or the new one.
func (c *cell) Swap(ctx context.Context, tag string, value []byte) (string, error) {
	const act = "write"
	if err := ctx.Err(); err != nil {
		return "", c.store.fail(act, c.key, err)
	}
	if err := makeRoot(c.store.root); err != nil {
		return "", c.store.fail(act, c.key, err)
	}
	root, err := c.store.openRoot()
	if err != nil {
		return "", c.store.fail(act, c.key, err)
	}
	defer root.Close()
	temp, err := c.prepare(root, value)
	if err != nil {
		return "", c.store.fail(act, c.key, err)
	}
	if err := c.replace(ctx, root, tag, temp); err != nil {
		_ = root.Remove(temp)
		return "", c.store.fail(act, c.key, err)
	}
	for dir := path.Dir(c.key); ; dir = path.Dir(dir) {
		if err := syncDir(root, dir); err != nil {
			return "", c.store.fail(act, c.key, err)
		}
		if dir == "." {
			return tagOf(value), nil
		}
	}
}

// prepare writes a temporary file and flushes it, and returns its name.
func (c *cell) prepare(root *os.Root, value []byte) (string, error) {
	if err := makeDirs(root, path.Dir(c.key)); err != nil {
		return "", err
	}
	temp := tempName(c.key)
	f, err := root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, writingMode)
	if err != nil {
		return "", err
	}
	_, err = f.Write(value)
	err = errors.Join(err, f.Chmod(storedMode), f.Sync(), f.Close())
	if err != nil {
		_ = root.Remove(temp)
	}
	return temp, err
}

// replace puts the temporary file in the place of the value with that tag.
func (c *cell) replace(ctx context.Context, root *os.Root, tag, temp string) error {
	dir, err := root.Open(path.Dir(c.key))
	if err != nil {
		return err
	}
	defer dir.Close() // and unlock
	if err := awaitLock(ctx, dir); err != nil {
		return err
	}
	_, now, err := c.read(root)
	if err != nil {
		return err
	}
	if now != tag {
		return lease.ErrMoved
	}
	return root.Rename(temp, c.key)
}

// awaitLock locks a directory until it is closed. It tries again and again rather than
// wait in the kernel, where no cancellation reaches it.
func awaitLock(ctx context.Context, dir *os.File) error {
	for {
		held, err := tryLock(dir)
		if held || err != nil {
			return err
		}
		timer := time.NewTimer(lockPoll)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("another process has it locked: %w", context.Cause(ctx))
		}
	}
}
