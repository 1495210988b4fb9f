// Package master plays the master of the replication protocol for one replica and the
// length of one RDB, so that a server takes a dump at the speed at which it loads its own.
//
//	replica PING                                     us +PONG
//	replica AUTH [user] password                     us +OK
//	replica REPLCONF …                               us +OK
//	replica PSYNC <id> <offset>                      us +FULLRESYNC <id> 0
//	us      $EOF:<mark>, the RDB, <mark>
//	replica REPLCONF ACK <offset> …                  nothing more is sent
//
// Source: replication.c of Redis 5.0, 6.2 and 7.0 (syncWithMaster, readSyncBulkPayload).
// Replicas before 6.0 write PING as an inline command.
package master

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"rqvault/internal/idle"
)

// What callers branch on.
var (
	// ErrNobody: no replica that knows the password came in time.
	ErrNobody = errors.New("no replica came for the dump")
	// ErrHungUp: the replica ended the link, or stopped reading, before it had everything.
	ErrHungUp = errors.New("the replica hung up")
)

// Feed is what a replica is given.
type Feed struct {
	// Password is what the replica has to know. It must not be empty.
	Password string
	// Write writes the RDB, from its magic word to its checksum.
	Write func(w io.Writer) error
	// Wait is how long a replica may take to come; IdleTimeout is how long it may take
	// nothing once it has. Defaults 10 s and 60 s.
	Wait, IdleTimeout time.Duration
}

// handshakeTime is how long one connection may take to say that it wants the RDB.
const handshakeTime = 2 * time.Second

// Serve takes connections from l until one knows the password, writes the RDB to it and
// keeps it until the replica ends it or ctx does; then it closes l. It returns nil if the
// replica was sent everything, the error of Write unchanged if that failed, or else
// ErrNobody, ErrHungUp or what ctx ended with.
func Serve(ctx context.Context, l net.Listener, f Feed) error {
	if f.Wait <= 0 {
		f.Wait = 10 * time.Second
	}
	if f.IdleTimeout <= 0 {
		f.IdleTimeout = time.Minute
	}
	defer func() { _ = l.Close() }()
	late, cancel := context.WithTimeoutCause(ctx, f.Wait, ErrNobody)
	defer cancel()
	stop := context.AfterFunc(late, func() { _ = l.Close() })
	defer stop()
	for {
		c, err := l.Accept()
		if err != nil {
			if late.Err() != nil {
				err = context.Cause(late)
			}
			return fmt.Errorf("wait for the replica: %w", err)
		}
		r, err := greet(late, c, f.Password)
		if err != nil {
			_ = c.Close() // somebody else, or the replica will come again
			continue
		}
		err = f.feed(ctx, c, r)
		_ = c.Close()
		return err
	}
}

// greet answers a replica until it asks for the RDB.
func greet(ctx context.Context, c net.Conn, password string) (*bufio.Reader, error) {
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Now()) })
	defer stop()
	if err := c.SetDeadline(time.Now().Add(handshakeTime)); err != nil {
		return nil, err
	}
	r := bufio.NewReader(c)
	for known := false; ; {
		args, err := command(r)
		if err != nil {
			return nil, err
		}
		answer := "+OK\r\n"
		switch strings.ToUpper(args[0]) {
		case "PING":
			answer = "+PONG\r\n"
		case "AUTH":
			known = subtle.ConstantTimeCompare([]byte(args[len(args)-1]), []byte(password)) == 1
			if !known {
				answer = "-WRONGPASS another replica is expected here\r\n"
			}
		case "REPLCONF":
		case "PSYNC":
			if known {
				return r, nil
			}
			answer = "-NOAUTH another replica is expected here\r\n"
		default:
			answer = "-ERR only replication is spoken here\r\n"
		}
		if _, err := io.WriteString(c, answer); err != nil {
			return nil, err
		}
	}
}

// Bounds of what a replica may say.
const (
	maxArgs = 32
	maxArg  = 4 << 10
)

// command reads one command, in either form. It has at least one word.
func command(r *bufio.Reader) ([]string, error) {
	line, err := readLine(r)
	if err != nil {
		return nil, err
	}
	count, isArray := strings.CutPrefix(line, "*")
	if !isArray {
		args := strings.Fields(line)
		if len(args) == 0 {
			return command(r)
		}
		return args, nil
	}
	n, err := number(count, 1, maxArgs)
	if err != nil {
		return nil, err
	}
	args := make([]string, n)
	for i := range args {
		if line, err = readLine(r); err != nil {
			return nil, err
		}
		length, isBulk := strings.CutPrefix(line, "$")
		size, err := number(length, 0, maxArg)
		if err != nil || !isBulk {
			return nil, errNoCommand
		}
		b := make([]byte, size+len("\r\n"))
		if _, err := io.ReadFull(r, b); err != nil {
			return nil, err
		}
		args[i] = string(b[:size])
	}
	return args, nil
}

var errNoCommand = errors.New("not a command of the replication protocol")

func number(s string, least, most int) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < least || n > most {
		return 0, errNoCommand
	}
	return n, nil
}

// readLine reads a line without its end. It is bounded by the reader's buffer.
func readLine(r *bufio.Reader) (string, error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return "", err
	}
	return strings.TrimRight(string(line), "\r\n"), nil
}

// feed writes the RDB, and waits until the replica ends the link.
func (f *Feed) feed(ctx context.Context, c net.Conn, r *bufio.Reader) error {
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	if err := c.SetDeadline(time.Time{}); err != nil {
		return fmt.Errorf("%w: %w", ErrHungUp, err)
	}
	id := make([]byte, 40) // two halves of 40 hexadecimal digits: a history, and the mark
	_, _ = rand.Read(id)   // it never fails
	digits := hex.EncodeToString(id)
	history, mark := digits[:40], digits[40:]
	w := &link{c: &idle.Conn{Conn: c, Limit: f.IdleTimeout}}
	_, err := fmt.Fprintf(w, "+FULLRESYNC %s 0\r\n$EOF:%s\r\n", history, mark)
	if err == nil {
		err = f.Write(w)
	}
	if err == nil && ctx.Err() == nil { // the mark says that the dump is whole
		_, err = io.WriteString(w, mark)
	}
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case w.err != nil:
		return fmt.Errorf("%w: %w", ErrHungUp, w.err)
	case err != nil:
		return err
	}
	_, _ = io.Copy(io.Discard, r) // what it acknowledges, until it is nobody's replica any more
	return context.Cause(ctx)
}

// link remembers that it was the connection that failed.
type link struct {
	c   net.Conn
	err error
}

func (l *link) Write(p []byte) (int, error) {
	n, err := l.c.Write(p)
	if err != nil {
		l.err = err
	}
	return n, err
}
