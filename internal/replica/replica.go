// Package replica reads a server's data over the replication link: a full
// synchronisation as a replica would ask for, of which only the RDB is taken.
//
// The link is made so that nothing in the server's world can lean on it. No port is
// announced and no offset is ever acknowledged, so FAILOVER, Sentinel and WAIT see a
// replica that has received nothing and never choose or count it; where the server
// knows rdb-only (Redis 6.2 and newer) it hangs up itself after the RDB. What stays:
//
//   - the server forks once and shows one more replica while the transfer lasts;
//
//   - its replication id changes if no replica was ever attached to it before;
//
//   - a sentinel that looks meanwhile remembers a dead replica of port 0, which it
//     never promotes, until SENTINEL RESET;
//
//   - FAILOVER compares acknowledged offsets for equality, and one that starts at
//     zero equals zero: on a master that never had a replica, in the seconds before
//     its first write or ping (10 s), a FAILOVER given just then would choose us. No
//     acknowledgement could prevent that without making WAIT count us.
//
//     us      AUTH [user] password                     if there is one
//     us      REPLCONF capa eof capa psync2            server +OK
//     us      REPLCONF rdb-only 1                      server +OK, or an error before 6.2
//     us      PSYNC ? -1                               server \n \n … +FULLRESYNC <id> <offset>
//     server \n \n … $<length> or $EOF:<mark>
//     server the RDB, and the mark after it
//
// Lone newlines are the server's sign of life while it forks and saves.
package replica

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Target is the server to read from and the login for it. An ACL user needs +psync
// and +replconf; key patterns do not limit what it gets.
type Target struct {
	Network  string // "tcp" or "unix"
	Addr     string // host:port, or the socket's path
	Username string // empty means the default user
	Password string // empty means no login
	TLS      *tls.Config
}

// String returns the address alone.
func (t Target) String() string { return t.Addr }

// GoString is String, so that %#v shows no password either.
func (t Target) GoString() string { return t.Addr }

// MarshalText is String, for JSON and structured logs.
func (t Target) MarshalText() ([]byte, error) { return []byte(t.Addr), nil }

// Options are the choices for a link. The zero value is useful.
type Options struct {
	// DialTimeout bounds connecting and, once more, the TLS handshake. Default 10 s.
	DialTimeout time.Duration
	// IdleTimeout is how long the server may be wholly silent; its newlines count as
	// life. Default 60 s, as long as the server itself waits for a replica.
	IdleTimeout time.Duration
}

func (o Options) withDefaults() Options {
	if o.DialTimeout <= 0 {
		o.DialTimeout = 10 * time.Second
	}
	if o.IdleTimeout <= 0 {
		o.IdleTimeout = time.Minute
	}
	return o
}

// Sync asks for a full synchronisation and returns when the RDB begins. The Stream
// holds the connection and must be closed; the end of ctx closes it too.
//
// Errors wrap ErrDenied, ErrAuth, ErrLoading, ErrNotReady, ErrFailed, ErrTLS,
// ErrUnreachable or ErrIdle, with the server's own words where it had any.
func Sync(ctx context.Context, t Target, o Options) (*Stream, error) {
	o = o.withDefaults()
	l, err := open(ctx, t, o)
	if err != nil {
		return nil, fmt.Errorf("sync from %s: %w", t, err)
	}
	s, err := l.fullResync()
	if err != nil {
		err = l.explain(err)
		l.close()
		return nil, fmt.Errorf("sync from %s: %w", t, err)
	}
	return s, nil
}

// Probe tells whether Sync would be allowed, without starting one: the server is
// asked to continue from an offset that is no number, which it only finds out after
// it has checked all rights. Servers before 6.2 may start a synchronisation on such
// words, so there nothing is asked and the answer is nil, which means "not known to
// be refused". Errors as from Sync.
func Probe(ctx context.Context, t Target, o Options) error {
	l, err := open(ctx, t, o.withDefaults())
	if err != nil {
		return fmt.Errorf("probe %s: %w", t, err)
	}
	defer l.close()
	if err := l.probe(); err != nil {
		return fmt.Errorf("probe %s: %w", t, l.explain(err))
	}
	return nil
}

// fullResync runs the handshake up to the first byte of the RDB.
func (l *link) fullResync() (*Stream, error) {
	if err := l.announce(); err != nil {
		return nil, err
	}
	if err := l.send("PSYNC", "?", "-1"); err != nil {
		return nil, err
	}
	text, err := l.status()
	if err != nil {
		return nil, err
	}
	s := &Stream{l: l}
	if s.replID, s.offset, err = parseFullResync(text); err != nil {
		return nil, err
	}
	head, err := l.line()
	if err != nil {
		return nil, err
	}
	if s.size, s.mark, err = parseHeader(head); err != nil {
		return nil, err
	}
	s.left = s.size
	return s, nil
}

// announce says what we can take. Only eof and psync2 are offered: the newer ways
// to get an RDB need a second connection.
func (l *link) announce() error {
	if _, err := l.ask("REPLCONF", "capa", "eof", "capa", "psync2"); err != nil {
		return err
	}
	_, err := l.ask("REPLCONF", "rdb-only", "1")
	var r *ReplyError
	if errors.As(err, &r) && r.Unwrap() == nil {
		return nil // Redis before 6.2: we hang up ourselves
	}
	return err
}

func parseFullResync(text string) (id string, offset int64, err error) {
	f := strings.Fields(text)
	if len(f) != 3 || f[0] != "FULLRESYNC" || len(f[1]) != 40 {
		return "", 0, fmt.Errorf("%w: answer to PSYNC: %q", ErrProtocol, text)
	}
	if offset, err = strconv.ParseInt(f[2], 10, 64); err != nil || offset < 0 {
		return "", 0, fmt.Errorf("%w: answer to PSYNC: %q", ErrProtocol, text)
	}
	return f[1], offset, nil
}

// maxSize bounds the length a server may claim for an RDB; it is far above any
// memory, and only keeps sums from overflowing.
const maxSize = 1 << 50

// parseHeader reads what stands before the RDB. The size is -1 when only a mark
// tells where it ends.
func parseHeader(line string) (size int64, mark string, err error) {
	if strings.HasPrefix(line, "-") {
		return 0, "", newReplyError(line[1:])
	}
	if m, ok := strings.CutPrefix(line, "$EOF:"); ok && len(m) == markLen {
		return -1, m, nil
	}
	if n, ok := strings.CutPrefix(line, "$"); ok {
		if size, err = strconv.ParseInt(n, 10, 64); err == nil && size > 0 && size <= maxSize {
			return size, "", nil
		}
	}
	return 0, "", fmt.Errorf("%w: in place of an RDB: %q", ErrProtocol, line)
}

// probe asks for a synchronisation that cannot start.
func (l *link) probe() error {
	info, err := l.askBulk("INFO", "server")
	var refused *ReplyError
	if err != nil && (!errors.As(err, &refused) || errors.Is(err, ErrAuth)) {
		return err
	}
	// A server that refuses INFO has access rules, and those are younger than the
	// versions that this is unsafe on, or it is no server of that line at all.
	if err == nil && olderThan62(info) {
		return nil
	}
	if _, err := l.ask("REPLCONF", "capa", "eof"); err != nil {
		return err
	}
	_, err = l.ask("PSYNC", "?", "abc")
	if errors.As(err, &refused) && strings.Contains(refused.Text, "not an integer") {
		return nil
	}
	return err
}

func olderThan62(info string) bool {
	for line := range strings.Lines(info) {
		v, ok := strings.CutPrefix(strings.TrimSpace(line), "redis_version:")
		if !ok {
			continue
		}
		parts := strings.SplitN(v, ".", 3)
		if len(parts) < 2 {
			return true
		}
		major, err1 := strconv.Atoi(parts[0])
		minor, err2 := strconv.Atoi(parts[1])
		return err1 != nil || err2 != nil || major < 6 || major == 6 && minor < 2
	}
	return true
}
