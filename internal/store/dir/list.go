package dir

import (
	"context"
	"io/fs"
	"iter"
	"os"
	"path"
	"slices"
	"strings"

	"rqvault/internal/snapshot"
)

// List implements snapshot.Store. It holds the names of one directory per level in
// memory, never those of the whole store.
func (s *Store) List(ctx context.Context, prefix, after string) iter.Seq2[snapshot.Object, error] {
	return s.objects(ctx, "list", walk{prefix: prefix, after: after})
}

// Abandoned implements snapshot.Store. The file of a write that is still going on
// looks the same as one left behind: callers judge by its age.
func (s *Store) Abandoned(ctx context.Context) iter.Seq2[snapshot.Object, error] {
	return s.objects(ctx, "list leftovers of", walk{temps: true})
}

// objects runs a walk over a freshly opened root.
func (s *Store) objects(ctx context.Context, act string, w walk) iter.Seq2[snapshot.Object, error] {
	return func(yield func(snapshot.Object, error) bool) {
		root, err := s.openRoot()
		if err != nil {
			yield(snapshot.Object{}, s.fail(act, "", err))
			return
		}
		defer root.Close()
		w.ctx, w.root, w.yield = ctx, root, yield
		start := ""
		if i := strings.LastIndexByte(w.prefix, '/'); i >= 0 {
			start = w.prefix[:i+1]
			if w.prefix[:i] == "." || !fs.ValidPath(w.prefix[:i]) {
				return // no key can begin like this
			}
		}
		if _, err := w.dir(start); err != nil {
			yield(snapshot.Object{}, s.fail(act, start, err))
		}
	}
}

// walk visits the files of a store in byte order of their keys.
type walk struct {
	ctx    context.Context // for the length of one List call
	root   *os.Root
	prefix string
	after  string
	temps  bool // the temporary files instead of the objects
	yield  func(snapshot.Object, error) bool
}

// dir visits one directory, given as "" or with a slash at its end, and reports
// whether to go on. A directory that is gone, or never was, is empty.
func (w *walk) dir(name string) (bool, error) {
	keys, err := w.keys(name)
	if err != nil {
		return false, err
	}
	for _, key := range keys {
		if err := w.ctx.Err(); err != nil {
			return false, err
		}
		if w.skips(key) {
			continue
		}
		var more bool
		if strings.HasSuffix(key, "/") {
			more, err = w.dir(key)
		} else {
			more, err = w.file(key)
		}
		if err != nil || !more {
			return false, err
		}
	}
	return true, nil
}

// keys returns the directory's entries as sorted keys, those of directories with
// the slash that every key below them goes on with. Sorted that way the order of
// entries is the order of whole keys: "a-b" and "a.b" come before "a/b", although
// the name "a" alone is smaller than both.
func (w *walk) keys(name string) ([]string, error) {
	at := strings.TrimSuffix(name, "/")
	if at == "" {
		at = "."
	}
	f, err := w.root.Open(at)
	if notThere(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	entries, err := f.ReadDir(-1)
	if notThere(err) { // a file, or removed meanwhile
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	keys := make([]string, 0, len(entries))
	for _, e := range entries {
		switch {
		case e.IsDir():
			keys = append(keys, name+e.Name()+"/")
		case e.Type().IsRegular() && isTemp(e.Name()) == w.temps:
			keys = append(keys, name+e.Name())
		}
	}
	slices.Sort(keys)
	return keys, nil
}

// skips says that neither key nor, for a directory, anything below it is wanted.
func (w *walk) skips(key string) bool {
	if strings.HasSuffix(key, "/") {
		if !strings.HasPrefix(key, w.prefix) && !strings.HasPrefix(w.prefix, key) {
			return true
		}
		return key < w.after && !strings.HasPrefix(w.after, key)
	}
	return !strings.HasPrefix(key, w.prefix) || (w.after != "" && key <= w.after)
}

// file yields one file, unless it is gone by now.
func (w *walk) file(key string) (bool, error) {
	info, err := w.root.Lstat(path.Clean(key))
	if notThere(err) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	return w.yield(snapshot.Object{Key: key, Size: info.Size(), Modified: info.ModTime()}, nil), nil
}
