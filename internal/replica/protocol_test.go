package replica_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"rqvault/internal/replica"
)

const mark = "0123456789abcdef0123456789abcdef01234567"

const replID = "8371b4fb1155b71f4a04d3e1bc3e18c4a990aeeb"

// source is a server that follows a script: REPLCONF is answered as told, PSYNC by
// the bursts, each sent on its own after the one before was surely taken.
func source(t *testing.T, rdbOnly string, hangUp bool, bursts ...string) replica.Target {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serve(c, rdbOnly, hangUp, bursts)
		}
	}()
	return replica.Target{Network: "tcp", Addr: l.Addr().String()}
}

func serve(c net.Conn, rdbOnly string, hangUp bool, bursts []string) {
	defer c.Close()
	buf := make([]byte, 4096)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		switch cmd := string(buf[:n]); {
		case strings.Contains(cmd, "rdb-only"):
			_, _ = io.WriteString(c, rdbOnly)
		case strings.Contains(cmd, "PSYNC"):
			tick := time.NewTicker(30 * time.Millisecond)
			defer tick.Stop()
			for _, b := range bursts {
				_, _ = io.WriteString(c, b)
				<-tick.C
			}
			if hangUp {
				return
			}
		default:
			_, _ = io.WriteString(c, "+OK\r\n")
		}
	}
}

const ok, unknown = "+OK\r\n", "-ERR Unrecognized REPLCONF option: rdb-only\r\n"

func TestEndOfAStreamOfUnknownSize(t *testing.T) {
	t.Parallel()
	head := "\n\n+FULLRESYNC " + replID + " 17\r\n\n"
	long := strings.Repeat("RDB data ", 50_000)
	for _, c := range []struct {
		name   string
		bursts []string
		want   string
	}{
		{"one burst", []string{head + "$EOF:" + mark + "\r\nREDIS0011data" + mark}, "REDIS0011data"},
		{"mark on its own", []string{head, "\n$EOF:" + mark + "\r\n", "REDIS0011data", mark}, "REDIS0011data"},
		{"mark in pieces", []string{head + "$EOF:" + mark + "\r\n", "REDIS0011data" + mark[:7], mark[7:39], mark[39:]}, "REDIS0011data"},
		{"mark inside the data", []string{head + "$EOF:" + mark + "\r\nREDIS" + mark + "more" + mark}, "REDIS" + mark + "more"},
		{"mark at the end of a burst", []string{head + "$EOF:" + mark + "\r\n", "REDIS" + mark, "more" + mark}, "REDIS" + mark + "more"},
		{"large", []string{head + "$EOF:" + mark + "\r\n", long, long + mark}, long + long},
		{"nothing at all", []string{head + "$EOF:" + mark + "\r\n" + mark}, ""},
		{"known size", []string{head + "$9\r\nREDIS", "0011*1\r\n$4\r\nPING\r\n"}, "REDIS0011"},
	} {
		for _, hangUp := range []bool{true, false} {
			rdbOnly := unknown
			if hangUp {
				rdbOnly = ok
			}
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				s, err := replica.Sync(context.Background(), source(t, rdbOnly, hangUp, c.bursts...), replica.Options{})
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				b, err := io.ReadAll(iotest.OneByteReader(s))
				if err != nil || string(b) != c.want {
					t.Errorf("server hangs up %v: got %d bytes, %v, want %d bytes", hangUp, len(b), err, len(c.want))
				}
				if s.ReplID() != replID || s.Offset() != 17 {
					t.Errorf("got %s offset %d", s.ReplID(), s.Offset())
				}
			})
		}
	}
}

// A reader that knows where the RDB ends need not wait for a server that does not hang up,
// and is told if that is not where the server ends.
func TestEndedWithoutWaiting(t *testing.T) {
	t.Parallel()
	const head = "+FULLRESYNC " + replID + " 17\r\n"
	for _, c := range []struct {
		name   string
		bursts []string
		read   int
		want   bool
	}{
		{"at the mark", []string{head + "$EOF:" + mark + "\r\n", "REDIS0011", "data" + mark}, 13, true},
		{"before the mark", []string{head + "$EOF:" + mark + "\r\nREDIS0011data" + mark}, 12, false},
		{"at a mark inside the data", []string{head + "$EOF:" + mark + "\r\nREDIS" + mark + "more" + mark}, 5, false},
		{"at the last byte", []string{head + "$9\r\nREDIS0011"}, 9, true},
		{"before the last byte", []string{head + "$9\r\nREDIS0011"}, 8, false},
	} {
		s, err := replica.Sync(context.Background(), source(t, unknown, false, c.bursts...), replica.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(s, make([]byte, c.read)); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if got := s.Ended(); got != c.want {
			t.Errorf("%s: got %v", c.name, got)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestCutsAndNonsenseAreErrors(t *testing.T) {
	t.Parallel()
	head := "+FULLRESYNC " + replID + " 17\r\n"
	for _, c := range []struct {
		name   string
		bursts []string
		want   error
	}{
		{"no header", []string{head}, io.ErrUnexpectedEOF},
		{"cut in the data", []string{head + "$9\r\nREDIS"}, io.ErrUnexpectedEOF},
		{"no mark", []string{head + "$EOF:" + mark + "\r\nREDIS0011data"}, io.ErrUnexpectedEOF},
		{"half a mark", []string{head + "$EOF:" + mark + "\r\nREDIS0011data" + mark[:39]}, io.ErrUnexpectedEOF},
		{"save failed", []string{head + "-ERR BGSAVE failed, replication can't continue\r\n"}, replica.ErrFailed},
		{"short mark", []string{head + "$EOF:abc\r\n"}, replica.ErrProtocol},
		{"negative length", []string{head + "$-1\r\n"}, replica.ErrProtocol},
		{"hostile length", []string{head + "$99999999999999999999\r\n"}, replica.ErrProtocol},
		{"endless line", []string{strings.Repeat("x", 20_000)}, replica.ErrProtocol},
		{"continue", []string{"+CONTINUE\r\n"}, replica.ErrProtocol},
		{"short id", []string{"+FULLRESYNC abc 1\r\n"}, replica.ErrProtocol},
		{"no offset", []string{"+FULLRESYNC " + replID + " x\r\n"}, replica.ErrProtocol},
		{"number", []string{":1\r\n"}, replica.ErrProtocol},
		{"web server", []string{"HTTP/1.1 400 Bad Request\r\n\r\n"}, replica.ErrProtocol},
		{"no master link", []string{"\n-NOMASTERLINK Can't SYNC while not connected with my master\r\n"}, replica.ErrNotReady},
		{"hangs up", nil, io.ErrUnexpectedEOF},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, err := replica.Sync(context.Background(), source(t, ok, true, c.bursts...), replica.Options{})
			if err == nil {
				_, err = io.Copy(io.Discard, s)
				_ = s.Close()
			}
			if !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestSilenceBeforeTheRDB(t *testing.T) {
	t.Parallel()
	short := replica.Options{IdleTimeout: 100 * time.Millisecond}
	if _, err := replica.Sync(context.Background(), source(t, ok, false), short); !errors.Is(err, replica.ErrIdle) {
		t.Errorf("silent: got %v, want %v", err, replica.ErrIdle)
	}
	newlines := make([]string, 60)
	for i := range newlines {
		newlines[i] = "\n"
	}
	bursts := append(newlines, "+FULLRESYNC "+replID+" 0\r\n$9\r\nREDIS0011")
	s, err := replica.Sync(context.Background(), source(t, ok, false, bursts...), replica.Options{IdleTimeout: 1200 * time.Millisecond})
	if err != nil {
		t.Fatalf("1.8 s of newlines: %v", err)
	}
	if err := iotest.TestReader(s, []byte("REDIS0011")); err != nil {
		t.Error(err)
	}
}
