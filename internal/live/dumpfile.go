package live

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// locateDump finds the path of the dump as seen from here and makes sure, before
// anything is asked of the server, that a file there could be read.
func (s *Server) locateDump(ctx context.Context, o SaveOptions) (string, error) {
	dir, err := s.dumpDir(ctx, o)
	if err != nil {
		return "", err
	}
	name := o.File
	if name == "" {
		name, err = s.config(ctx, "dbfilename")
		if err != nil && !isRefusal(err) {
			return "", err
		}
	}
	if name == "" {
		name = "dump.rdb"
	}
	path := filepath.Join(dir, name)
	if st, err := os.Stat(dir); err != nil {
		return "", unreachable(path, err.Error())
	} else if !st.IsDir() {
		return "", unreachable(path, dir+" is not a directory")
	}
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return path, nil
	}
	if err != nil {
		return "", unreachable(path, err.Error())
	}
	if !st.Mode().IsRegular() {
		return "", unreachable(path, "it is not a regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return "", unreachable(path, err.Error())
	}
	_ = f.Close()
	// A save needs room for a second dump. One that fails for want of it can make
	// the server refuse all writes (stop-writes-on-bgsave-error), so it is not tried.
	if free, ok := freeSpace(dir); ok && free < uint64(st.Size()) {
		return "", fmt.Errorf("%w: %d bytes free in %s, the present dump has %d", ErrNoSpace, free, dir, st.Size())
	}
	return path, nil
}

func (s *Server) dumpDir(ctx context.Context, o SaveOptions) (string, error) {
	if o.Dir != "" {
		return o.Dir, nil
	}
	dir, err := s.config(ctx, "dir")
	if err != nil && !isRefusal(err) {
		return "", err
	}
	if err != nil {
		return "", fmt.Errorf("%w: no directory was given and the server does not tell its own: %w", ErrDumpUnreachable, err)
	}
	if !s.sameHost.Load() {
		return "", unreachable(dir, "the server runs on another machine and no directory was given where its dumps are seen from here")
	}
	return dir, nil
}

func unreachable(path, why string) error {
	return fmt.Errorf("%w: tried %s: %s", ErrDumpUnreachable, path, why)
}

// fingerprint tells one state of a path from another.
type fingerprint struct{ info fs.FileInfo }

func takeFingerprint(path string) (fingerprint, error) {
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fingerprint{}, nil
	}
	if err != nil {
		return fingerprint{}, unreachable(path, err.Error())
	}
	return fingerprint{st}, nil
}

// same reports whether st is the very file, untouched. Redis writes a new file and
// renames it, so the inode changes; inode numbers are used again, so the time counts
// too.
func (p fingerprint) same(st fs.FileInfo) bool {
	return p.info != nil && os.SameFile(p.info, st) && p.info.ModTime().Equal(st.ModTime()) && p.info.Size() == st.Size()
}

// provedDump is a file that passed all checks of openProved.
type provedDump struct {
	file     *os.File
	size     int64
	forkedAt time.Time
}

// settleTime is how long a new file may take to show through a network file system.
const settleTime = time.Second

// openProved opens the dump and checks that it came from this server's save: another
// machine's directory of the same name must not be taken for the server's.
func (v *save) openProved(ctx context.Context, end infoFields) (provedDump, error) {
	until := time.Now().Add(settleTime)
	for {
		d, err := v.openOnce(ctx, end)
		if !errors.Is(err, errUnchanged) || time.Now().After(until) {
			return d, err
		}
		if err := sleep(ctx, v.o.Poll); err != nil {
			return d, err
		}
	}
}

var errUnchanged = errors.New("the save ended well but this file did not change, so the directory is not the server's")

func (v *save) openOnce(ctx context.Context, end infoFields) (provedDump, error) {
	f, err := os.Open(v.path)
	if errors.Is(err, fs.ErrNotExist) {
		return provedDump{}, fmt.Errorf("%w: tried %s: %w", ErrDumpUnreachable, v.path, errUnchanged)
	}
	if err != nil {
		return provedDump{}, unreachable(v.path, err.Error())
	}
	d, err := v.prove(ctx, f, end)
	if err != nil {
		_ = f.Close()
	}
	return d, err
}

func (v *save) prove(ctx context.Context, f *os.File, end infoFields) (provedDump, error) {
	st, err := f.Stat()
	if err != nil {
		return provedDump{}, unreachable(v.path, err.Error())
	}
	if v.before.same(st) {
		return provedDump{}, fmt.Errorf("%w: tried %s: %w", ErrDumpUnreachable, v.path, errUnchanged)
	}
	h, err := readDumpHeader(f)
	if err != nil {
		return provedDump{}, unreachable(v.path, err.Error())
	}
	if !h.from(end) {
		return provedDump{}, unreachable(v.path, "the file carries the replication id of another server")
	}
	d := provedDump{file: f, size: st.Size()}
	if h.ctime == 0 {
		// Dumps of Redis before 3.2 do not tell their time. The file system's clock
		// may be the server's or ours.
		oldest := v.askedAt
		if v.askedLoc.Before(oldest) {
			oldest = v.askedLoc
		}
		if st.ModTime().Before(oldest.Add(-2 * time.Second)) {
			return provedDump{}, unreachable(v.path, "the file is older than the save")
		}
		return d, nil
	}
	now, _, err := v.s.clock(ctx)
	if errors.Is(err, ErrDenied) {
		now, err = time.Unix(end.num("rdb_last_save_time"), 0), nil
	}
	if err != nil {
		return provedDump{}, err
	}
	// One second of grace: time() and gettimeofday() of one machine can differ at
	// the turn of a second.
	if h.ctime < v.askedAt.Unix()-1 || h.ctime > now.Unix()+1 {
		return provedDump{}, unreachable(v.path, fmt.Sprintf("the file was created at %s, not during the save",
			time.Unix(h.ctime, 0).UTC().Format(time.RFC3339)))
	}
	d.forkedAt = time.Unix(h.ctime, 0)
	return d, nil
}

// dumpHeader is what a dump tells of its origin before its first key.
type dumpHeader struct {
	ctime  int64 // Unix seconds of the fork; 0 means not told
	replID string
}

// from reports whether the dump can be from the server that says that of itself.
func (h dumpHeader) from(in infoFields) bool {
	return h.replID == "" || !in.has("master_replid") || h.replID == in.str("master_replid") || h.replID == in.str("master_replid2")
}

// readDumpHeader reads the leading auxiliary fields without moving f. It knows just
// enough of the format for them and stops at the first thing it does not know.
func readDumpHeader(f io.ReaderAt) (dumpHeader, error) {
	buf := make([]byte, 4096)
	n, err := f.ReadAt(buf, 0)
	if err != nil && err != io.EOF {
		return dumpHeader{}, err
	}
	buf = buf[:n]
	if !bytes.HasPrefix(buf, []byte("REDIS")) && !bytes.HasPrefix(buf, []byte("VALKEY")) || n < 9 {
		return dumpHeader{}, errors.New("the file is not a Redis dump")
	}
	var h dumpHeader
	for buf = buf[9:]; len(buf) > 0 && buf[0] == auxOpcode; {
		var name, value string
		var ok bool
		if name, buf, ok = headerString(buf[1:]); !ok {
			break
		}
		if value, buf, ok = headerString(buf); !ok {
			break
		}
		switch name {
		case "ctime":
			h.ctime, _ = strconv.ParseInt(value, 10, 64)
		case "repl-id":
			h.replID = value
		}
	}
	return h, nil
}

const auxOpcode = 250

// headerString takes one short string or integer-coded string off b.
func headerString(b []byte) (s string, rest []byte, ok bool) {
	if len(b) == 0 {
		return "", nil, false
	}
	first, b := b[0], b[1:]
	width := map[byte]int{0xC0: 1, 0xC1: 2, 0xC2: 4}[first]
	switch {
	case width > 0 && len(b) >= width:
		var wide [4]byte
		copy(wide[:], b[:width])
		n := int32(binary.LittleEndian.Uint32(wide[:])) << (32 - 8*width) >> (32 - 8*width)
		return strconv.Itoa(int(n)), b[width:], true
	case first < 0x40 && len(b) >= int(first):
		return string(b[:first]), b[first:], true
	case first >= 0x40 && first < 0x80 && len(b) >= 1:
		n := int(first&0x3F)<<8 | int(b[0])
		if b = b[1:]; len(b) >= n {
			return string(b[:n]), b[n:], true
		}
	}
	return "", nil, false
}
