package replica

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"

	"rqvault/internal/idle"
)

// Bounds of what is read before the RDB.
const (
	maxLine    = 8 << 10 // an error line can quote a name, no answer is near this
	maxBulk    = 1 << 20 // INFO server is a few kilobytes
	bufferSize = 256 << 10
)

// link is one connection. It lives under an io.Reader, whose calls carry no context,
// so it holds the one it was made with.
type link struct {
	ctx    context.Context
	conn   *idle.Conn // the socket, under TLS if there is any
	rw     net.Conn   // what is spoken on
	r      *bufio.Reader
	secure bool
	spoke  bool // the server has answered something
	stop   func() bool
	once   sync.Once
}

// open connects and logs in.
func open(ctx context.Context, t Target, o Options) (*link, error) {
	d := net.Dialer{Timeout: o.DialTimeout}
	conn, err := d.DialContext(ctx, t.Network, t.Addr)
	if err != nil {
		return nil, (&link{ctx: ctx}).explain(err)
	}
	l := &link{ctx: ctx, conn: &idle.Conn{Conn: conn, Limit: o.IdleTimeout}, secure: t.TLS != nil}
	l.rw = l.conn
	if l.secure {
		if l.rw, err = handshake(ctx, l.conn, t, o); err != nil {
			return nil, err
		}
	}
	l.r = bufio.NewReaderSize(l.rw, bufferSize)
	l.stop = context.AfterFunc(ctx, func() { _ = conn.Close() })
	if err := l.login(t); err != nil {
		err = l.explain(err)
		l.close()
		return nil, err
	}
	return l, nil
}

func handshake(ctx context.Context, conn net.Conn, t Target, o Options) (net.Conn, error) {
	conf := t.TLS.Clone()
	if conf.ServerName == "" {
		conf.ServerName, _, _ = net.SplitHostPort(t.Addr)
	}
	secure := tls.Client(conn, conf)
	hctx, cancel := context.WithTimeout(ctx, o.DialTimeout)
	defer cancel()
	if err := secure.HandshakeContext(hctx); err != nil {
		_ = conn.Close()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("%w: %w", ErrTLS, err)
	}
	return secure, nil
}

func (l *link) login(t Target) error {
	var err error
	switch {
	case t.Password == "":
		return nil
	case t.Username == "":
		_, err = l.ask("AUTH", t.Password)
	default:
		_, err = l.ask("AUTH", t.Username, t.Password)
	}
	return err
}

// close ends the connection. It may be called more than once.
func (l *link) close() {
	l.once.Do(func() {
		l.stop()
		_ = l.conn.Close()
	})
}

// send writes one command.
func (l *link) send(args ...string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	_, err := io.WriteString(l.rw, b.String())
	return err
}

// ask sends a command and reads its one-line reply.
func (l *link) ask(args ...string) (string, error) {
	if err := l.send(args...); err != nil {
		return "", err
	}
	return l.status()
}

// status reads a +line. An error line becomes a *ReplyError.
func (l *link) status() (string, error) {
	line, err := l.line()
	if err != nil {
		return "", err
	}
	switch line[0] {
	case '+':
		return line[1:], nil
	case '-':
		return "", newReplyError(line[1:])
	}
	return "", fmt.Errorf("%w: in place of a status: %q", ErrProtocol, line)
}

// line reads one line that is not a keepalive, without its end. It is never empty.
func (l *link) line() (string, error) {
	var line []byte
	for {
		c, err := l.r.ReadByte()
		if err != nil {
			return "", err
		}
		l.spoke = true
		switch {
		case c != '\n':
			line = append(line, c)
		case len(line) > 0 && line[0] != '\r':
			return strings.TrimSuffix(string(line), "\r"), nil
		default:
			line = line[:0]
		}
		if len(line) > maxLine {
			return "", fmt.Errorf("%w: a line of more than %d bytes", ErrProtocol, maxLine)
		}
	}
}

// askBulk sends a command and reads its one string.
func (l *link) askBulk(args ...string) (string, error) {
	if err := l.send(args...); err != nil {
		return "", err
	}
	line, err := l.line()
	if err != nil {
		return "", err
	}
	if line[0] == '-' {
		return "", newReplyError(line[1:])
	}
	n, err := strconv.Atoi(line[1:])
	if line[0] != '$' || err != nil || n < 0 || n > maxBulk {
		return "", fmt.Errorf("%w: in place of a string: %q", ErrProtocol, line)
	}
	b := make([]byte, n+2)
	if _, err := io.ReadFull(l.r, b); err != nil {
		return "", err
	}
	return string(b[:n]), nil
}

// explain gives a failed read or write its cause: a cancelled context before all,
// since it closes the connection and so looks like a break.
func (l *link) explain(err error) error {
	var r *ReplyError
	switch {
	case l.ctx.Err() != nil:
		return context.Cause(l.ctx)
	case errors.As(err, &r) || errors.Is(err, ErrProtocol):
		return err
	case errors.Is(err, os.ErrDeadlineExceeded) && l.conn != nil:
		return fmt.Errorf("%w: not a byte for %s", ErrIdle, l.conn.Limit)
	case isTLS(err):
		return fmt.Errorf("%w: %w", ErrTLS, err)
	case l.secure && !l.spoke:
		// With TLS 1.3 our half of the handshake is over before the server looks at
		// our certificate, and its alert can be lost to the reset that follows.
		return fmt.Errorf("%w: the server hung up right after the handshake, as it does when it wants a client certificate: %w", ErrTLS, err)
	case errors.Is(err, io.EOF):
		return fmt.Errorf("%w: %w", ErrUnreachable, io.ErrUnexpectedEOF)
	}
	return fmt.Errorf("%w: %w", ErrUnreachable, err)
}

func isTLS(err error) bool {
	var record tls.RecordHeaderError
	var alert tls.AlertError
	return errors.As(err, &record) || errors.As(err, &alert) || strings.Contains(err.Error(), "tls: ")
}
