package live

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"syscall"
	"time"

	"rqvault/internal/idle"
	"rqvault/internal/pace"
)

// dial connects to the target. It never fails towards go-redis: that library
// prints a line to stderr for each failed dial and starts goroutines that try
// again. A connection that answers every use with the reason of the failure gives
// the caller the same error in silence.
func (s *Server) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	d := net.Dialer{Timeout: s.opts.DialTimeout}
	c, err := d.DialContext(ctx, s.target.Network, s.target.Addr)
	if err != nil {
		return deadConn{reason: err}, nil
	}
	s.noteHost(c)
	if s.opts.Limit != nil {
		c = pacedConn{c, s.opts.Limit}
	}
	guarded := &idle.Conn{Conn: c, Limit: s.opts.IdleTimeout}
	if s.target.TLS == nil {
		return &plainConn{guarded}, nil
	}
	conf := s.target.TLS.Clone()
	if conf.ServerName == "" {
		conf.ServerName, _, _ = net.SplitHostPort(s.target.Addr)
	}
	secure := tls.Client(guarded, conf)
	hctx, cancel := context.WithTimeout(ctx, s.opts.DialTimeout)
	defer cancel()
	if err := secure.HandshakeContext(hctx); err != nil {
		_ = c.Close()
		return deadConn{reason: tlsFailure{err}}, nil
	}
	return secure, nil
}

// noteHost remembers whether the other end is this machine: a unix socket, or an
// address that is also our own end of the connection.
func (s *Server) noteHost(c net.Conn) {
	same := s.target.Network == "unix"
	if remote, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		local, _ := c.LocalAddr().(*net.TCPAddr)
		same = remote.IP.IsLoopback() || local != nil && remote.IP.Equal(local.IP)
	}
	s.sameHost.Store(same)
}

// tlsFailure marks every error of a handshake, timeouts included, as ErrTLS.
type tlsFailure struct{ error }

func (e tlsFailure) Unwrap() []error { return []error{ErrTLS, e.error} }

// pacedConn keeps a connection below a rate.
type pacedConn struct {
	net.Conn
	limit *pace.Limit
}

func (c pacedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b[:c.limit.Piece(len(b))])
	c.limit.Passed(n)
	return n, err
}

func (c pacedConn) Write(b []byte) (written int, err error) {
	for err == nil && len(b) > 0 {
		var n int
		n, err = c.Conn.Write(b[:c.limit.Piece(len(b))])
		c.limit.Passed(n)
		written, b = written+n, b[n:]
	}
	return written, err
}

// SyscallConn gives access to the socket underneath.
func (c pacedConn) SyscallConn() (syscall.RawConn, error) {
	sc, ok := c.Conn.(syscall.Conn)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	return sc.SyscallConn()
}

// plainConn lets the pool look at the socket and drop a connection that the server
// closed meanwhile. Behind TLS the socket shows only cipher text, so there the
// method must not exist.
type plainConn struct{ *idle.Conn }

// SyscallConn gives access to the socket underneath.
func (c *plainConn) SyscallConn() (syscall.RawConn, error) {
	sc, ok := c.Conn.Conn.(syscall.Conn)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	return sc.SyscallConn()
}

// deadConn is a connection that was never made.
type deadConn struct{ reason error }

func (c deadConn) Read([]byte) (int, error)         { return 0, c.reason }
func (c deadConn) Write([]byte) (int, error)        { return 0, c.reason }
func (c deadConn) Close() error                     { return nil }
func (c deadConn) LocalAddr() net.Addr              { return deadAddr{} }
func (c deadConn) RemoteAddr() net.Addr             { return deadAddr{} }
func (c deadConn) SetDeadline(time.Time) error      { return nil }
func (c deadConn) SetReadDeadline(time.Time) error  { return nil }
func (c deadConn) SetWriteDeadline(time.Time) error { return nil }

type deadAddr struct{}

func (deadAddr) Network() string { return "none" }
func (deadAddr) String() string  { return "none" }
