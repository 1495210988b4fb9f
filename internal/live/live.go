// Package live speaks with a running Redis or Valkey server through go-redis and is
// the only package that does: what the server is and has been through (Facts), its
// own dump made and proved (SaveRDB), its keys as RESTORE payloads (Scan, Dump),
// and batches of commands and scripts (Pipeline, Run). It hands out raw bytes and
// plain values, never types of the client library.
//
// Reading is not wholly without trace: reads refresh the LRU and LFU notes that
// eviction uses, and keys whose time is up may be removed by the server when they
// are looked at.
package live

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"rqvault/internal/pace"
)

// Options are the choices for a connection. The zero value is useful.
type Options struct {
	// ReadOnly refuses, on this side, every command that is not on a list of
	// reading ones. BGSAVE passes only from within SaveRDB.
	ReadOnly bool
	// DialTimeout bounds connecting and, once more, the TLS handshake. Default 5 s.
	DialTimeout time.Duration
	// IdleTimeout is how long a reply may make no progress at all. Default 30 s.
	IdleTimeout time.Duration
	// Limit bounds the bytes per second over all connections, both ways; nil: nothing does.
	Limit *pace.Limit
	// Crowded is called when keys are read and other clients are found to keep the server
	// busy, perhaps more than once and from another goroutine; it may be nil.
	Crowded func()
	// unready takes a server that is still loading for one that answers.
	unready bool
	// Now is the clock that skew and expiry are reckoned by. Default time.Now.
	Now func() time.Time
}

// poolSize is the most connections per database. One caller uses one; scans, saves
// and lookups side by side use a few.
const poolSize = 4

func (o Options) withDefaults() Options {
	if o.DialTimeout <= 0 {
		o.DialTimeout = 5 * time.Second
	}
	if o.IdleTimeout <= 0 {
		o.IdleTimeout = 30 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Crowded == nil {
		o.Crowded = func() {}
	}
	return o
}

// Server is a server that answered. It is safe for concurrent use, and reconnects
// by itself when a connection broke between two calls.
type Server struct {
	target   Target
	opts     Options
	sameHost atomic.Bool

	mu      sync.Mutex
	closed  bool
	clients map[int]*redis.Client // one pool per database, since SELECT is a state of a connection
	loaded  map[string]bool       // SHA-1 of the scripts that this server was given

	crowd crowd
}

// Dial connects to the target and makes sure that it answers. For a sentinel target
// it first finds the master. The error wraps one of ErrUnreachable, ErrTLS, ErrAuth,
// ErrLoading, ErrNotReady, ErrDenied, ErrNoDB, ErrNoMaster.
func Dial(ctx context.Context, t Target, opts Options) (*Server, error) {
	opts = opts.withDefaults()
	if len(t.Sentinels) > 0 {
		return dialSentinels(ctx, t, opts)
	}
	return dialServer(ctx, t, opts)
}

func dialServer(ctx context.Context, t Target, opts Options) (*Server, error) {
	s := &Server{target: t, opts: opts, clients: map[int]*redis.Client{}, loaded: map[string]bool{}}
	ping := redis.NewStatusCmd(ctx, "ping")
	err := s.execTries(ctx, t.DB, 1, ping)
	if r := replyError(err); r != nil && (harmlessForPing(r) || opts.unready && r.Code() == "LOADING") {
		err = nil
	}
	if err != nil && ctx.Err() == nil && t.TLS != nil && isLost(err) && !isTimeout(err) && !isDialFailure(err) {
		// With TLS 1.3 our half of the handshake is over before the server looks at
		// our certificate, and its alert can be lost to the reset that follows.
		err = fmt.Errorf("%w: the server hung up right after the handshake, as it does when it wants a client certificate: %w", ErrTLS, err)
	}
	if err != nil {
		_ = s.Close()
		return nil, wrap(ctx, "connect to "+t.String(), err)
	}
	return s, nil
}

// harmlessForPing tells answers to PING that leave the server readable: the last
// save failed (MISCONF), the user has no right to PING but is logged in, or a
// replica without its master that serves INFO and BGSAVE all the same.
func harmlessForPing(r *ReplyError) bool {
	return slices.Contains([]string{"MISCONF", "NOPERM", "MASTERDOWN"}, r.Code())
}

// Target is the server that was reached; for a sentinel target Addr is the master
// that the sentinels named.
func (s *Server) Target() Target { return s.target }

// Limit is that of the Options.
func (s *Server) Limit() *pace.Limit { return s.opts.Limit }

// Close ends all connections. Calls that still run fail.
func (s *Server) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	var errs []error
	for _, c := range s.clients {
		errs = append(errs, c.Close())
	}
	s.clients = map[int]*redis.Client{}
	return errors.Join(errs...)
}

// client returns the pool of one database.
func (s *Server) client(db int) (*redis.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, redis.ErrClosed
	}
	if c := s.clients[db]; c != nil {
		return c, nil
	}
	c := redis.NewClient(&redis.Options{
		Network: s.target.Network, Addr: s.target.Addr, Dialer: s.dial,
		Username: s.target.Username, Password: s.target.Password, DB: db,
		// RESP2 without identity or maintenance extras: the least that every server,
		// proxy and managed service answers.
		Protocol: 2, DisableIdentity: true,
		// idleConn sets the deadlines; nothing is sent twice without our knowing.
		ReadTimeout: -2, WriteTimeout: -2, MaxRetries: -1, DialerRetries: 1,
		PoolSize: poolSize, PipelinePoolSize: -1, PoolTimeout: s.opts.IdleTimeout,
	})
	if s.opts.ReadOnly {
		c.AddHook(guard{})
	}
	s.clients[db] = c
	return c, nil
}

// exec runs commands in one pipeline on a connection of the database. It returns at
// once when ctx ends, though the library does not; the commands must not be looked
// at then. If the connection broke and all commands only read, they are sent again,
// because a pooled connection may have been dead for a while.
func (s *Server) exec(ctx context.Context, db int, cmds ...redis.Cmder) error {
	return s.execTries(ctx, db, maxTries, cmds...)
}

// maxTries is one more than the connections of a pool: all of them can be dead.
const maxTries = poolSize + 1

func (s *Server) execTries(ctx context.Context, db, tries int, cmds ...redis.Cmder) error {
	c, err := s.client(db)
	if err != nil {
		return err
	}
	s.crowd.sent.Add(int64(len(cmds)))
	done := make(chan error, 1)
	go func() {
		for try := 1; ; try++ {
			err := attempt(ctx, c, cmds)
			if try >= tries || err == nil || ctx.Err() != nil || replyError(err) != nil || !retriable(err, cmds) {
				done <- err
				return
			}
			for _, cmd := range cmds {
				cmd.SetErr(nil)
			}
		}
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// attempt sends the commands once. The library allocates what a reply's length
// field claims; a claim beyond all memory limits panics there and is an error here.
func attempt(ctx context.Context, c *redis.Client, cmds []redis.Cmder) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("read reply: %v", p)
		}
	}()
	if len(cmds) == 1 {
		return c.Process(ctx, cmds[0])
	}
	pipe := c.Pipeline()
	for _, cmd := range cmds {
		_ = pipe.Process(ctx, cmd) // only queues
	}
	_, err = pipe.Exec(ctx)
	return err
}

func retriable(err error, cmds []redis.Cmder) bool {
	if !isLost(err) || isTimeout(err) || isDialFailure(err) {
		return false
	}
	for _, cmd := range cmds {
		if !isRead(cmd.Args()) {
			return false
		}
	}
	return true
}
