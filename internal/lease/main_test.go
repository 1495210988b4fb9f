package lease_test

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rqvault/internal/lease"
	"rqvault/internal/store/dir"
	"rqvault/internal/store/s3"
)

// What makes the test binary a contender: its name, the store and the file in which it
// writes down what it does.
const (
	asContender = "RQVAULT_TEST_CONTENDER"
	itsStore    = "RQVAULT_TEST_STORE"
	itsLog      = "RQVAULT_TEST_LOG"
)

// shortTTL is that of contenders which are processes.
const shortTTL = 3 * time.Second

func TestMain(m *testing.M) {
	if os.Getenv(asContender) == "" {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := contend(ctx); err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// contend keeps the lease and, while it leads, writes a line every few milliseconds:
//
//	lead GENERATION TIME         it led at that time, by the machine's clock
//	told GENERATION TIME CAUSE   its context ended
//
// The time of the first kind is taken before the check that it still led.
func contend(ctx context.Context) error {
	cell, err := itsCell(ctx)
	if err != nil {
		return err
	}
	log, err := os.OpenFile(os.Getenv(itsLog), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	l, err := lease.New(cell, lease.Options{Owner: os.Getenv(asContender), TTL: shortTTL, Now: time.Now})
	if err != nil {
		return err
	}
	return l.Keep(ctx, func(ctx context.Context) error {
		generation := l.Status().Generation
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			if at := monotonic(); lease.Check(ctx) == nil {
				fmt.Fprintf(log, "lead %d %d\n", generation, at)
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
		fmt.Fprintf(log, "told %d %d %v\n", generation, monotonic(), context.Cause(ctx))
		return nil
	})
}

func itsCell(ctx context.Context) (lease.Cell, error) {
	key, err := lease.Key("test")
	if err != nil {
		return nil, err
	}
	place := os.Getenv(itsStore)
	if !strings.HasPrefix(place, "s3://") {
		s, err := dir.Open(place)
		if err != nil {
			return nil, err
		}
		return s.Cell(key)
	}
	o, err := s3.ParseURL(place)
	if err != nil {
		return nil, err
	}
	s, err := s3.Open(ctx, o)
	if err != nil {
		return nil, err
	}
	return s.Cell(key)
}

// monotonic is the clock that all processes of the machine share, in nanoseconds.
func monotonic() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic(err)
	}
	return ts.Nano()
}
