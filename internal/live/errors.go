package live

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/redis/go-redis/v9"
)

// What callers branch on. Every error of this package that has one of these causes
// wraps it; the text beside it says what was tried and what the server answered.
var (
	// ErrUnreachable: no connection, or it broke, or the server restarted under us.
	ErrUnreachable = errors.New("redis is unreachable")
	// ErrSilent: it is there, and says nothing.
	ErrSilent = errors.New("it took the connection but does not answer (it may hang, or run a long script)")
	// ErrTLS: the two sides do not agree on TLS or on a certificate.
	ErrTLS = errors.New("tls handshake failed")
	// ErrAuth: a password is missing or wrong.
	ErrAuth = errors.New("redis refused the credentials")
	// ErrDenied: the user or the service may not run the command.
	ErrDenied = errors.New("redis does not allow the command")
	// ErrLoading: the server is still reading its data set.
	ErrLoading = errors.New("redis is loading its data")
	// ErrNotReady: the server works but cannot serve now (busy script, no master
	// link, too many clients).
	ErrNotReady = errors.New("redis is not ready")
	// ErrNotRedis: what answers there does not speak Redis' protocol.
	ErrNotRedis = errors.New("what answers there is not redis")
	// ErrNoDB: the server has no database of that number.
	ErrNoDB = errors.New("no such database")
	// ErrNoMaster: no sentinel named a master that says it is one.
	ErrNoMaster = errors.New("no master found")
	// ErrReadOnly: a command that is not known to only read was refused on this side.
	ErrReadOnly = errors.New("connection is read-only")

	// ErrSaveRunning: another save runs and waiting was not asked for.
	ErrSaveRunning = errors.New("another save is running")
	// ErrSaveFailed: the server says that the save did not succeed.
	ErrSaveFailed = errors.New("save failed")
	// ErrSaveTimeout: the save did not end in the time given. It may still be running.
	ErrSaveTimeout = errors.New("save did not end in time")
	// ErrDumpUnreachable: the dump file cannot be read from here, or the file that
	// can be read is not this server's.
	ErrDumpUnreachable = errors.New("dump file is not reachable")
	// ErrNoSpace: a second dump would not fit beside the first one.
	ErrNoSpace = errors.New("not enough disk space for a dump")
)

// ReplyError is an error that the server sent in place of a reply.
type ReplyError struct {
	// Text is what the server said, without the arguments that some versions quote
	// in it: they can be payloads and passwords.
	Text string
}

// Error returns the server's words.
func (e *ReplyError) Error() string { return e.Text }

// Unwrap names the cause in this package's terms, nil when it has none.
func (e *ReplyError) Unwrap() error { return causeOf(e.Text) }

// Code is the first word of the text, such as NOSCRIPT or ERR.
func (e *ReplyError) Code() string {
	code, _, _ := strings.Cut(e.Text, " ")
	return code
}

func newReplyError(text string) *ReplyError {
	text, _, _ = strings.Cut(text, ", with args beginning with")
	return &ReplyError{Text: text}
}

var replyCauses = []struct {
	prefix string
	cause  error
}{
	{"NOAUTH", ErrAuth},
	{"WRONGPASS", ErrAuth},
	{"ERR invalid password", ErrAuth},
	{"ERR invalid username-password pair", ErrAuth},
	{"ERR AUTH ", ErrAuth},
	{"ERR Client sent AUTH", ErrAuth},
	{"NOPERM", ErrDenied},
	{"DENIED", ErrDenied},
	{"ERR unknown command", ErrDenied},
	{"ERR unknown subcommand", ErrDenied},
	{"ERR Unknown subcommand", ErrDenied},
	{"LOADING", ErrLoading},
	{"BUSY ", ErrNotReady},
	{"MASTERDOWN", ErrNotReady},
	{"CLUSTERDOWN", ErrNotReady},
	{"ERR max number of clients", ErrNotReady},
	{"ERR DB index", ErrNoDB},
	{"ERR SELECT is not allowed in cluster mode", ErrNoDB},
}

func causeOf(text string) error {
	for _, c := range replyCauses {
		if strings.HasPrefix(text, c.prefix) {
			return c.cause
		}
	}
	return nil
}

// replyError turns a go-redis error reply into ours, nil when err is none.
func replyError(err error) *ReplyError {
	var r redis.Error
	if errors.As(err, &r) && !errors.Is(err, redis.Nil) {
		return newReplyError(r.Error())
	}
	return nil
}

// wrap names the act on an error that came out of go-redis, and its cause.
func wrap(ctx context.Context, act string, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", act, context.Cause(ctx))
	}
	if r := replyError(err); r != nil {
		return fmt.Errorf("%s: %w", act, r)
	}
	for _, known := range []error{ErrReadOnly, ErrUnreachable, ErrTLS, ErrAuth} {
		if errors.Is(err, known) {
			return fmt.Errorf("%s: %w", act, err)
		}
	}
	if isTLS(err) {
		return fmt.Errorf("%s: %w: %w", act, ErrTLS, err)
	}
	if strings.Contains(err.Error(), "redis: can't parse") { // with bytes of the answer, which may be anything
		return fmt.Errorf("%s: %w", act, ErrNotRedis)
	}
	if isTimeout(err) && !isDialFailure(err) {
		return fmt.Errorf("%s: %w: %w", act, ErrUnreachable, ErrSilent)
	}
	if isLost(err) {
		return fmt.Errorf("%s: %w: %w", act, ErrUnreachable, err)
	}
	return fmt.Errorf("%s: %w", act, err)
}

func isTLS(err error) bool {
	var record tls.RecordHeaderError
	var verify *tls.CertificateVerificationError
	var alert tls.AlertError
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	return errors.As(err, &record) || errors.As(err, &verify) || errors.As(err, &alert) ||
		errors.As(err, &unknown) || errors.As(err, &host) || strings.Contains(err.Error(), "tls: ")
}

// isLost reports whether the connection itself broke or never came to be.
func isLost(err error) bool {
	var n net.Error
	return errors.As(err, &n) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, redis.ErrClosed) || errors.Is(err, redis.ErrPoolTimeout)
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

func isDialFailure(err error) bool {
	var op *net.OpError
	return errors.Is(err, ErrTLS) || errors.As(err, &op) && op.Op == "dial"
}
