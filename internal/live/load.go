package live

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"rqvault/internal/master"
)

// ErrNotTaken: the server does not take a dump by LoadRDB, for the reason beside it. It is as
// empty as it was, and RESTORE can do.
var ErrNotTaken = errors.New("the server does not take a dump as a whole")

// ErrHalfTaken: it is not known whether the server is empty, or its own master.
var ErrHalfTaken = errors.New("the server may hold a part of the dump")

// LoadRDB makes an empty server load a dump that write writes: for that time it is made the
// replica of this process, so that it loads as it does at its own start. Others can write
// nothing meanwhile. All of the dump gets in or nothing: the server empties itself where the
// dump breaks off. What write writes must be sound as far as it goes, since servers end
// themselves over a dump that is damaged, or has values of a module which they lack.
//
// The server must be on this machine, since the dump is not encrypted on its way; it must be
// nobody's replica and have none itself. Three things are set on it and set back at the end:
// whose replica it is, masterauth (unless it has a value) and repl-diskless-load. If this
// process is killed meanwhile they stay: see Abandoned.
//
// Errors: ErrNotTaken; that of write, or what ctx ended with, after which the server is
// empty; ErrHalfTaken.
func (s *Server) LoadRDB(ctx context.Context, write func(w io.Writer) error) error {
	l := &loading{s: s}
	err := l.prepare(ctx)
	if err == nil {
		err = l.run(ctx, write)
	}
	// What was set is set back whatever happened, Ctrl-C included.
	after, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
	defer cancel()
	undone := l.undo(after)
	if err == nil && undone == nil {
		return nil
	}
	if err != nil && undone == nil {
		undone = l.empty(after)
	}
	var unreadable *dumpError
	switch {
	case undone != nil:
		return fmt.Errorf("load dump: %w: %w", ErrHalfTaken, errors.Join(err, undone))
	case ctx.Err() != nil:
		return fmt.Errorf("load dump: %w", context.Cause(ctx))
	case errors.As(err, &unreadable):
		return unreadable.error
	}
	return fmt.Errorf("load dump: %w: %w", ErrNotTaken, err)
}

// Abandoned reports whether the server waits for a LoadRDB that was killed: it is the
// replica of a process on its own machine that is gone, and has a password of LoadRDB's.
func (s *Server) Abandoned(ctx context.Context) bool {
	in, err := s.info(ctx, "replication")
	if err != nil || in.str("role") != "slave" || in.str("master_host") != loopback || in.str("master_link_status") == "up" {
		return false
	}
	password, err := s.config(ctx, "masterauth")
	return err == nil && strings.HasPrefix(password, ourSecret)
}

const (
	// undoTime bounds how long a server may take to forget half a dump.
	undoTime = 2 * time.Minute
	// attachTime is how long a server may take to come as a replica. One in a network of its
	// own, as in a container, does not find us.
	attachTime = 3 * time.Second
	// pauseTime is how long others' writes wait at most between the proof that the server is
	// empty and its becoming a replica.
	pauseTime = 10 * time.Second
	// ourSecret begins every password that LoadRDB makes.
	ourSecret = "rqvault-"
	loopback  = "127.0.0.1"
)

// dumpError is one of the dump, not of the server that takes it.
type dumpError struct{ error }

// loading is one LoadRDB.
type loading struct {
	s        *Server
	password string
	set      []setting // to be set back, the last first
	attached bool      // it was told to be a replica
	replica  bool      // and was not told to be none
}

// setting is a CONFIG parameter and a value of it.
type setting struct{ name, value string }

// prepare looks whether the server can do it, and sets what has to be set.
func (l *loading) prepare(ctx context.Context) error {
	s := l.s
	if !s.SameHost() || len(s.target.Sentinels) > 0 {
		return errors.New("it is on another machine, or sentinels watch it")
	}
	in, err := s.info(ctx, "all")
	if err != nil {
		return err
	}
	switch {
	case in.str("role") != "master" || in.num("connected_slaves") > 0 || in.flag("cluster_enabled"):
		return errors.New("it takes part in replication or in a cluster")
	case in.num("maxmemory") > 0:
		return errors.New("its memory is bounded, which a replica does not heed")
	case in.num("number_of_functions") > 0:
		return errors.New("it holds functions")
	}
	if err := l.change(ctx, "repl-diskless-load", func(string) string { return "on-empty-db" }); err != nil {
		return err
	}
	return l.change(ctx, "masterauth", func(has string) string {
		if l.password = has; has == "" || strings.HasPrefix(has, ourSecret) {
			secret := make([]byte, 24)
			_, _ = rand.Read(secret) // it never fails
			l.password = ourSecret + hex.EncodeToString(secret)
		}
		return l.password
	})
}

// change sets a CONFIG parameter to what becomes of its value.
func (l *loading) change(ctx context.Context, name string, to func(has string) string) error {
	has, err := l.s.config(ctx, name)
	if err != nil {
		return err
	}
	value := to(has)
	if value == has {
		return nil
	}
	if strings.HasPrefix(has, ourSecret) {
		has = "" // of one that was killed
	}
	err = l.s.order(ctx, []any{"CONFIG", "SET", name, value})
	if err == nil || !isRefusal(err) {
		l.set = append(l.set, setting{name, has})
	}
	return err
}

// order runs commands that must all succeed.
func (s *Server) order(ctx context.Context, commands ...[]any) error {
	replies, err := s.Pipeline(ctx, s.target.DB, commands)
	if err != nil {
		return err
	}
	for _, r := range replies {
		if err, failed := r.(error); failed {
			return err
		}
	}
	return nil
}

// run makes the server a replica, and feeds it until it has everything.
func (l *loading) run(ctx context.Context, write func(w io.Writer) error) error {
	at, err := net.Listen("tcp", loopback+":0")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var fed error
	over := make(chan struct{})
	go func() {
		defer close(over)
		fed = master.Serve(ctx, at, master.Feed{Password: l.password, Wait: attachTime, Write: func(w io.Writer) error {
			if err := write(w); err != nil {
				return &dumpError{err}
			}
			return nil
		}})
	}()
	defer func() {
		cancel()
		<-over
	}()
	if err := l.attach(ctx, at.Addr().(*net.TCPAddr).Port); err != nil {
		return err
	}
	if ended, err := l.wait(ctx, over); !ended {
		if err == nil {
			err = l.release(ctx)
		}
		return err
	}
	if fed == nil {
		fed = master.ErrHungUp
	}
	return fed
}

// attach makes the server a replica of the port, if it is empty. Writes of others wait in
// between, so that none gets lost.
func (l *loading) attach(ctx context.Context, port int) (err error) {
	s, began := l.s, time.Now()
	replies, err := s.Pipeline(ctx, s.target.DB, [][]any{{"CLIENT", "PAUSE", pauseTime.Milliseconds(), "WRITE"}, {"INFO", "keyspace"}})
	if err != nil {
		return err
	}
	if err, failed := replies[0].(error); failed {
		return err
	}
	defer func() { err = errors.Join(err, s.order(context.WithoutCancel(ctx), []any{"CLIENT", "UNPAUSE"})) }()
	if text, ok := replies[1].(string); !ok || len(parseInfo(text).keyspace()) > 0 {
		return errors.New("it is not empty")
	}
	if time.Since(began) > pauseTime/2 {
		return errors.New("it answers too slowly")
	}
	err = s.order(ctx, []any{"REPLICAOF", loopback, port})
	l.attached = err == nil || !isRefusal(err)
	l.replica = l.attached
	return err
}

// How often a server is asked whether it has loaded everything: the longer that takes, the
// more seldom.
const (
	loadSoonest = time.Millisecond
	loadLatest  = 50 * time.Millisecond
)

// wait waits until the server has loaded everything, or the feeding is over before that.
func (l *loading) wait(ctx context.Context, over <-chan struct{}) (ended bool, err error) {
	began := time.Now()
	for {
		timer := time.NewTimer(min(loadSoonest+time.Since(began)/50, loadLatest))
		select {
		case <-over:
			timer.Stop()
			return true, nil
		case <-timer.C:
		}
		in, err := l.s.info(ctx, "replication")
		if err != nil {
			return false, err
		}
		if in.str("master_link_status") == "up" {
			return false, nil
		}
	}
}

// release makes the server its own master again.
func (l *loading) release(ctx context.Context) error {
	err := l.s.order(ctx, []any{"REPLICAOF", "NO", "ONE"})
	l.replica = err != nil
	return err
}

// undo makes the server its own master again, and sets back what was set.
func (l *loading) undo(ctx context.Context) error {
	var errs []error
	if l.replica {
		err := l.release(ctx)
		for errors.Is(err, ErrLoading) && sleep(ctx, loadLatest) == nil { // it notices that the link is gone
			err = l.release(ctx)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("make it a master again: %w", err))
		}
	}
	for i := len(l.set) - 1; i >= 0; i-- {
		if err := l.s.order(ctx, []any{"CONFIG", "SET", l.set[i].name, l.set[i].value}); err != nil {
			errs = append(errs, fmt.Errorf("set %s back: %w", l.set[i].name, err))
		}
	}
	return errors.Join(errs...)
}

// empty is an error unless the server is.
func (l *loading) empty(ctx context.Context) error {
	if !l.attached {
		return nil
	}
	in, err := l.s.info(ctx, "keyspace")
	if err == nil && len(in.keyspace()) > 0 {
		err = errors.New("it holds a part of the dump")
	}
	return err
}
