package s3

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
)

const (
	dialTimeout = 10 * time.Second
	keepAlive   = 30 * time.Second
	// writeStep is how many bytes may be handed to the system under one deadline. A
	// whole part under one would fail on a slow line that is moving all the time.
	writeStep = 64 << 10
)

// newHTTPClient returns the SDK's own kind of client (others make AWS_CA_BUNDLE an
// error) whose connections give up after idle without a byte moving. HTTP/2 is off:
// parts would share one connection, where one stalled stream hides behind the
// others' traffic. reached is set once a connection was made.
func newHTTPClient(idle time.Duration, reached *atomic.Bool) *awshttp.BuildableClient {
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: keepAlive}
	return awshttp.NewBuildableClient().WithTransportOptions(func(tr *http.Transport) {
		tr.ForceAttemptHTTP2 = false
		tr.Protocols = new(http.Protocols)
		tr.Protocols.SetHTTP1(true)
		tr.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			reached.Store(true)
			return &guardedConn{Conn: c, idle: idle}, nil
		}
	})
}

// guardedConn fails once nothing has moved for a while. The SDK has no such limit:
// a server that accepts a request and falls silent would hold a snapshot for ever.
// A limit on the whole request is no substitute, since it also ends healthy large
// transfers, and a limit on reading alone ends uploads, during which nothing is
// read: so each write puts the reading deadline off as well.
type guardedConn struct {
	net.Conn
	idle time.Duration
}

func (c *guardedConn) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.idle)); err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(p)
	return n, c.named(err)
}

func (c *guardedConn) Write(p []byte) (int, error) {
	written := 0
	for {
		step := p[written:min(len(p), written+writeStep)]
		if err := c.SetDeadline(time.Now().Add(c.idle)); err != nil {
			return written, err
		}
		n, err := c.Conn.Write(step)
		written += n
		if err != nil {
			return written, c.named(err)
		}
		if written == len(p) {
			return written, nil
		}
	}
}

// named turns the system's "i/o timeout" into what happened.
func (c *guardedConn) named(err error) error {
	if ne, ok := err.(net.Error); ok && ne.Timeout() {
		return &idleError{idle: c.idle}
	}
	return err
}

// idleError is a net.Error, so that the SDK and net/http treat it as a timeout and
// try again.
type idleError struct{ idle time.Duration }

func (e *idleError) Error() string {
	return fmt.Sprintf("the server moved no byte for %s", e.idle)
}
func (e *idleError) Timeout() bool   { return true }
func (e *idleError) Temporary() bool { return true }
func (e *idleError) Unwrap() error   { return os.ErrDeadlineExceeded }
