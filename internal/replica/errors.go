package replica

import (
	"errors"
	"strings"
)

// What callers branch on. Every error of this package that has one of these causes
// wraps it.
var (
	// ErrDenied: the service or the user's rights do not allow replication.
	ErrDenied = errors.New("replication is not allowed")
	// ErrAuth: a password is missing or wrong.
	ErrAuth = errors.New("credentials refused")
	// ErrLoading: the server is still reading its data set.
	ErrLoading = errors.New("server is loading its data")
	// ErrNotReady: it would work later: a replica without its master, a failover, a
	// busy server.
	ErrNotReady = errors.New("server is not ready to replicate")
	// ErrFailed: the server began and could not make the RDB.
	ErrFailed = errors.New("server could not make the rdb")
	// ErrTLS: the two sides do not agree on TLS or on a certificate.
	ErrTLS = errors.New("tls handshake failed")
	// ErrUnreachable: no connection, or it broke.
	ErrUnreachable = errors.New("server is unreachable")
	// ErrIdle: the connection stands but the server says nothing.
	ErrIdle = errors.New("server fell silent")
	// ErrProtocol: the other end does not speak the replication protocol.
	ErrProtocol = errors.New("not the replication protocol")
)

// ReplyError is an error that the server sent in place of a reply.
type ReplyError struct {
	// Text is what the server said, without the arguments that some versions quote.
	Text string
}

// Error returns the server's words.
func (e *ReplyError) Error() string { return e.Text }

// Unwrap names the cause in this package's terms, nil when it has none.
func (e *ReplyError) Unwrap() error {
	for _, c := range replyCauses {
		if strings.Contains(e.Text, c.words) {
			return c.cause
		}
	}
	return nil
}

func newReplyError(text string) *ReplyError {
	text, _, _ = strings.Cut(text, ", with args beginning with")
	return &ReplyError{Text: text}
}

// replyCauses is searched from the top: the words of a later entry can be part of an
// answer that an earlier one explains better.
var replyCauses = []struct {
	words string
	cause error
}{
	{"NOAUTH", ErrAuth},
	{"WRONGPASS", ErrAuth},
	{"invalid password", ErrAuth},
	{"ERR AUTH ", ErrAuth},
	{"Client sent AUTH", ErrAuth},
	{"NOPERM", ErrDenied},
	{"DENIED", ErrDenied},
	{"unknown command", ErrDenied},
	{"LOADING", ErrLoading},
	{"NOMASTERLINK", ErrNotReady},
	{"MASTERDOWN", ErrNotReady},
	{"Can't SYNC", ErrNotReady},
	{"pending output", ErrNotReady},
	{"BUSY", ErrNotReady},
	{"max number of clients", ErrNotReady},
	{"BGSAVE failed", ErrFailed},
	{"background save", ErrFailed},
}
