package snapshot

import (
	"context"
	"errors"
	"io"
	"iter"
	"strings"
	"time"
)

// Errors every Store reports, whatever its service calls them. Test with errors.Is.
var (
	// ErrNotFound: there is no such object.
	ErrNotFound = errors.New("no such object")
	// ErrExists: the object is there already, written by somebody else; nothing was replaced.
	ErrExists = errors.New("object exists already")
	// ErrNoStore: the place itself is missing (no such bucket or directory).
	ErrNoStore = errors.New("no such store")
	// ErrDenied: the store refused our credentials or rights.
	ErrDenied = errors.New("access denied by the store")
	// ErrUnreachable: the service that keeps the store did not answer at all.
	ErrUnreachable = errors.New("the store is unreachable")
	// ErrLocked: the store keeps the object for now and removes it for nobody. Most such
	// errors are a LockedError, which says until when.
	ErrLocked = errors.New("locked by the store")
)

// Object is what a store knows of one stored object without reading it.
type Object struct {
	Key      string    // slash-separated, relative to the store's root
	Size     int64     // bytes
	Modified time.Time // by the store's clock
}

// Store is a place for objects that are written once and never replaced. Keys are
// slash-separated, relative, without empty, "." or ".." elements; no key is a
// directory of another. All methods may be called concurrently. Errors wrap the
// sentinels above.
type Store interface {
	// Create begins an object that must not exist yet. Nothing is visible under the
	// key before Commit returned nil, or ever, if it does not.
	Create(ctx context.Context, key string) (Writer, error)
	// Open reads length bytes from offset, or to the object's end if length is -1.
	// A range beyond the end is an error. The reader yields exactly the bytes asked
	// for or fails: a body cut short is io.ErrUnexpectedEOF, never io.EOF.
	Open(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error)
	// Stat returns what is known of one object.
	Stat(ctx context.Context, key string) (Object, error)
	// List yields the objects whose key starts with prefix and sorts after the key
	// given ("" for all), in byte order of keys, and one error at most, as the last pair.
	List(ctx context.Context, prefix, after string) iter.Seq2[Object, error]
	// Remove deletes one object, with all its versions where the place keeps such; a missing
	// one is no error. ErrLocked: it stays as it is.
	Remove(ctx context.Context, key string) error
	// Abandoned yields what broken writes left behind and no List shows (temporary
	// files, unfinished multipart uploads): Key names it for Discard.
	Abandoned(ctx context.Context) iter.Seq2[Object, error]
	// Discard removes one leftover that Abandoned named. If its writer is alive after all,
	// that one's Commit fails, or still stores the whole object.
	Discard(ctx context.Context, o Object) error
	// String names the place for people, without secrets.
	String() string
}

// Writer takes the bytes of one new object. It is used by one goroutine.
type Writer interface {
	io.Writer
	// Commit makes the object durable and visible, create-only: ErrExists if the key
	// was taken meanwhile. A doubtful answer is settled by reading back before it returns.
	Commit(ctx context.Context) error
	// Abort gives the object up and removes what was sent. It is safe after Commit,
	// where it does nothing, and works when the context of Create is cancelled.
	Abort()
}

// Lasting reports whether the object under a key is part of a snapshot, so that a store may
// keep anybody from removing it for a time. What else there is comes and goes.
func Lasting(key string) bool {
	_, rest, ok := strings.Cut(key, "/")
	return ok && strings.HasPrefix(rest, "snapshots/")
}
