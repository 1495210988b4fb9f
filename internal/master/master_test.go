package master_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"rqvault/internal/master"
)

// serve begins to serve a dump, and returns where, and what became of it.
func serve(t *testing.T, f master.Feed) (addr string, ended <-chan error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan error, 1)
	go func() { over <- master.Serve(ctx, l, f) }()
	t.Cleanup(cancel)
	return l.Addr().String(), over
}

// say connects, and sends something.
func say(t *testing.T, addr, what string) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if _, err := io.WriteString(c, what); err != nil {
		t.Fatal(err)
	}
	return c, bufio.NewReader(c)
}

func array(args ...string) string {
	s := fmt.Sprintf("*%d\r\n", len(args))
	for _, a := range args {
		s += fmt.Sprintf("$%d\r\n%s\r\n", len(a), a)
	}
	return s
}

var login = "PING\r\n" + array("AUTH", "user", "secret") + array("REPLCONF", "capa", "eof", "capa", "psync2")

func lines(t *testing.T, r *bufio.Reader, want ...string) {
	t.Helper()
	for _, w := range want {
		if got, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(got, w) {
			t.Fatalf("it answers %q, %v, want %q", got, err, w)
		}
	}
}

func TestAReplicaGetsTheDump(t *testing.T) {
	t.Parallel()
	addr, ended := serve(t, master.Feed{Password: "secret", Write: func(w io.Writer) error {
		_, err := io.WriteString(w, "the dump")
		return err
	}})
	c, r := say(t, addr, login+array("PSYNC", "?", "-1"))
	lines(t, r, "+PONG\r\n", "+OK\r\n", "+OK\r\n", "+FULLRESYNC ")
	head, err := r.ReadString('\n')
	mark, is := strings.CutPrefix(strings.TrimSpace(head), "$EOF:")
	if err != nil || !is || len(mark) != 40 {
		t.Fatalf("before the dump: %q, %v", head, err)
	}
	b := make([]byte, len("the dump")+40)
	if _, err := io.ReadFull(r, b); err != nil || string(b) != "the dump"+mark {
		t.Fatalf("the dump is %q, %v", b, err)
	}
	_, _ = io.WriteString(c, array("REPLCONF", "ACK", "0"))
	select {
	case err := <-ended:
		t.Fatalf("it hung up: %v", err)
	default:
	}
	_ = c.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// Whoever does not know the password gets nothing, and does not keep the replica from coming.
func TestStrangersGetNothing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ says, gets string }{
		"no password":      {array("PSYNC", "?", "-1"), "-NOAUTH"},
		"a wrong one":      {array("AUTH", "secret2") + array("PSYNC", "?", "-1"), "-WRONGPASS"},
		"a browser":        {"GET / HTTP/1.1\r\n", "-ERR"},
		"a huge array":     {"*1000000000\r\n", ""},
		"a huge argument":  {"*1\r\n$1000000000\r\n", ""},
		"a negative one":   {"*1\r\n$-5\r\n", ""},
		"no end of a line": {strings.Repeat("x", 1<<16), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr, ended := serve(t, master.Feed{Password: "secret", Write: func(w io.Writer) error { return errors.New("served") }})
			stranger, r := say(t, addr, c.says)
			if c.gets != "" {
				lines(t, r, c.gets)
				_ = stranger.Close()
			} else if b, _ := io.ReadAll(r); len(b) > 0 {
				t.Errorf("it answers %q", b)
			}
			say(t, addr, login+array("PSYNC", "?", "-1"))
			if err := <-ended; err == nil || err.Error() != "served" {
				t.Errorf("the replica: %v", err)
			}
		})
	}
}

func TestHowServingEnds(t *testing.T) {
	t.Parallel()
	if _, ended := serve(t, master.Feed{Password: "secret", Wait: 1}); !errors.Is(<-ended, master.ErrNobody) {
		t.Error("nobody came, and it does not say so")
	}
	broken := errors.New("broken")
	addr, ended := serve(t, master.Feed{Password: "secret", Write: func(io.Writer) error { return broken }})
	_, r := say(t, addr, login+array("PSYNC", "?", "-1"))
	if err := <-ended; err != broken {
		t.Errorf("a broken dump: %v", err)
	}
	if _, err := io.ReadAll(r); err != nil { // it hangs up
		t.Error(err)
	}
	addr, ended = serve(t, master.Feed{Password: "secret", Write: func(w io.Writer) error {
		for {
			if _, err := w.Write(make([]byte, 1<<16)); err != nil {
				return errors.New("of the dump, seemingly")
			}
		}
	}})
	c, r := say(t, addr, login+array("PSYNC", "?", "-1"))
	lines(t, r, "+PONG", "+OK", "+OK", "+FULLRESYNC")
	_ = c.Close()
	if err := <-ended; !errors.Is(err, master.ErrHungUp) {
		t.Errorf("the replica hung up: %v", err)
	}
	addr, ended = serve(t, master.Feed{Password: "secret", IdleTimeout: 1e6, Write: func(w io.Writer) error {
		for {
			if _, err := w.Write(make([]byte, 1<<16)); err != nil {
				return err
			}
		}
	}})
	say(t, addr, login+array("PSYNC", "?", "-1"))
	if err := <-ended; !errors.Is(err, master.ErrHungUp) {
		t.Errorf("the replica takes nothing: %v", err)
	}
}
