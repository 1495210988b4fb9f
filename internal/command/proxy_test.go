package command_test

import (
	"bufio"
	"io"
	"math"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// gate stands between rqvault and Redis and lets so many commands of one name through, of
// which a restore's are the script calls. The next one it keeps, once all earlier ones were answered, and calls stop.
type gate struct {
	t      testing.TB
	l      net.Listener
	server string
	counts string
	wg     sync.WaitGroup

	mu   sync.Mutex
	left int    // calls still let through
	stop func() // called instead of the next, once; nil after that
	meet func() // called before the next, which then goes through too
}

// newGate listens on a unix socket before the server at that socket and counts the
// commands of that name, in small letters.
func newGate(t testing.TB, server, counts string) *gate {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "rqg")
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{t: t, l: l, server: server, counts: counts}
	g.wg.Go(g.accept)
	t.Cleanup(func() {
		_ = l.Close()
		g.wg.Wait()
		_ = os.RemoveAll(dir)
	})
	return g
}

func (g *gate) url() string { return "unix://" + g.l.Addr().String() + "?db=0" }

// arm lets n of the counted commands through and calls stop instead of the next.
func (g *gate) arm(n int, stop func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.left, g.stop = n, stop
}

// meanwhile lets n of the counted commands through, calls meet, and then lets all through.
func (g *gate) meanwhile(n int, meet func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.left, g.stop, g.meet = n, nil, meet
}

// met reports whether what meanwhile was given has been called.
func (g *gate) met() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.meet == nil
}

// pass reports whether one more script call may go through.
func (g *gate) pass() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.left--
	if g.left < 0 && g.meet != nil {
		g.meet()
		g.left, g.meet = math.MaxInt, nil
	}
	return g.left >= 0
}

// halt calls stop, the first time.
func (g *gate) halt() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stop != nil {
		g.stop()
		g.stop = nil
	}
}

// killAfter runs rqvault as a process and kills it after n script calls. It reports
// whether rqvault came to its end before.
func (g *gate) killAfter(n int, args []string) bool {
	g.t.Helper()
	cmd := process(g.t, args)
	started := make(chan struct{})
	g.arm(n, func() {
		<-started
		_ = cmd.Process.Kill()
	})
	if err := cmd.Start(); err != nil {
		g.t.Fatal(err)
	}
	close(started)
	_ = cmd.Wait() // its exit code is looked at
	if code := cmd.ProcessState.ExitCode(); code != 0 && code != -1 {
		g.t.Errorf("killed after %d script calls: exit %d, want a kill or 0", n, code)
	}
	return cmd.ProcessState.Success()
}

func (g *gate) accept() {
	for {
		c, err := g.l.Accept()
		if err != nil {
			return
		}
		s, err := net.Dial("unix", g.server)
		if err != nil {
			_ = c.Close() // the server is gone
			continue
		}
		g.wg.Go(func() { g.serve(c, s.(*net.UnixConn)) })
	}
}

// serve passes commands on one by one and replies as they are. When the gate closes, the
// server still gets to answer everything it was given, though nobody reads it.
func (g *gate) serve(c net.Conn, s *net.UnixConn) {
	done := make(chan struct{})
	var closing atomic.Bool
	go func() {
		defer close(done)
		_, _ = io.Copy(c, s)
		_, _ = io.Copy(io.Discard, s)
		if !closing.Load() {
			_ = c.Close()
		}
	}()
	r := bufio.NewReaderSize(c, 64<<10)
	for {
		command, name, err := readCommand(r)
		if err != nil {
			break
		}
		if name == g.counts && !g.pass() {
			closing.Store(true)
			break
		}
		if _, err := s.Write(command); err != nil {
			break
		}
	}
	_ = s.CloseWrite()
	if closing.Load() {
		<-done // all that went through has run
		g.halt()
	}
	_ = c.Close()
	<-done
	_ = s.Close()
}

// readCommand reads one command as clients send it, a list of bulk strings, and returns
// its bytes and its name in small letters.
func readCommand(r *bufio.Reader) (command []byte, name string, err error) {
	n, command, err := readCount(r, nil, '*')
	for i := 0; i < n && err == nil; i++ {
		var length int
		if length, command, err = readCount(r, command, '$'); err != nil {
			break
		}
		at := len(command)
		command = append(command, make([]byte, length+2)...)
		_, err = io.ReadFull(r, command[at:])
		if i == 0 {
			name = strings.ToLower(string(command[at : at+length]))
		}
	}
	return command, name, err
}

func readCount(r *bufio.Reader, command []byte, mark byte) (int, []byte, error) {
	line, err := r.ReadBytes('\n')
	if err != nil {
		return 0, command, err
	}
	if line[0] != mark {
		return 0, command, io.ErrUnexpectedEOF
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(line[1:])))
	return n, append(command, line...), err
}
