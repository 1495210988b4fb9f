// Package scratch runs a private redis-server for as long as a drill takes: in a fresh
// directory that only its owner may enter, on a unix socket and no port, loading one dump
// and saving nothing. It dies with this process, and Close leaves nothing behind.
package scratch

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"rqvault/internal/child"
)

// What can be wrong with a private server.
var (
	// ErrMissing: there is no redis-server to run.
	ErrMissing = errors.New("no redis-server found")
	// ErrTooOld: the server does not read dumps of that version.
	ErrTooOld = errors.New("this redis-server is too old for the dump")
	// ErrNotLoaded: the server ended, and did not say that it is too old.
	ErrNotLoaded = errors.New("redis-server did not load the dump")
	// ErrLongPath: the directory's path leaves no room for a socket's name.
	ErrLongPath = errors.New("path too long for a unix socket")
)

// maxSocket is the length of the longest path that a unix socket may have on every system.
const maxSocket = 103

// Server is a private redis-server, or the place for one that is not started yet.
type Server struct {
	bin, version, dir string
	proc              *child.Process
}

// New finds the program, by its path or its name in PATH, and makes the directory, below
// parent or the system's own. Close the server in any case.
func New(ctx context.Context, program, parent string) (*Server, error) {
	bin, err := exec.LookPath(program)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMissing, err)
	}
	version, err := ask(ctx, bin)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(parent, "rqvault-drill-*")
	if err != nil {
		return nil, fmt.Errorf("make a directory for redis-server: %w", err)
	}
	s := &Server{bin: bin, version: version, dir: dir}
	if s.dir, err = filepath.Abs(dir); err == nil && len(s.Socket()) > maxSocket {
		err = fmt.Errorf("%w: %s", ErrLongPath, s.Socket())
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// ask returns what the program calls itself, such as "redis 7.0.15".
func ask(ctx context.Context, bin string) (string, error) {
	out, err := exec.CommandContext(ctx, bin, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("%w: %s --version: %w", ErrMissing, bin, err)
	}
	name, rest, ok := strings.Cut(string(out), " server v=")
	if !ok {
		return "", fmt.Errorf("%w: %s is something else", ErrMissing, bin)
	}
	return strings.ToLower(name) + " " + strings.Fields(rest + " ?")[0], nil
}

// Version is what the program calls itself, such as "redis 7.0.15".
func (s *Server) Version() string { return s.version }

// Socket is the path of the server's socket.
func (s *Server) Socket() string { return filepath.Join(s.dir, "s") }

// URL is its address.
func (s *Server) URL() string { return (&url.URL{Scheme: "unix", Path: s.Socket()}).String() }

// DumpPath is where the dump belongs before Start. It is gone after it.
func (s *Server) DumpPath() string { return filepath.Join(s.dir, "dump.rdb") }

// Pid is the server's process id, 0 before Start.
func (s *Server) Pid() int {
	if s.proc == nil {
		return 0
	}
	return s.proc.Pid()
}

// How often a server is asked whether it has loaded its dump: the longer that takes, the
// more seldom.
const (
	firstLook = time.Millisecond
	lastLook  = 50 * time.Millisecond
)

// Start runs the server and returns when it has loaded the dump, which is removed then.
// databases is how many it has to have.
func (s *Server) Start(ctx context.Context, databases int) error {
	cmd := exec.Command(s.bin, "--port", "0", "--unixsocket", s.Socket(), "--unixsocketperm", "700",
		"--dir", s.dir, "--dbfilename", "dump.rdb", "--save", "", "--appendonly", "no", "--daemonize", "no",
		"--logfile", s.log(), "--maxmemory", "0", "--databases", strconv.Itoa(databases))
	cmd.Dir = s.dir
	p, err := child.Start(cmd, true)
	if err != nil {
		return fmt.Errorf("%w: start %s: %w", ErrMissing, s.bin, err)
	}
	s.proc = p
	began := time.Now()
	tick := time.NewTimer(firstLook)
	defer tick.Stop()
	for !s.ready() {
		tick.Reset(min(firstLook+time.Since(began)/50, lastLook))
		select {
		case <-p.Done():
			return s.why()
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
	if err := os.Remove(s.DumpPath()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the loaded dump: %w", err)
	}
	return nil
}

func (s *Server) log() string { return filepath.Join(s.dir, "log") }

// ready reports whether the server answers PING: it says LOADING until it has everything.
func (s *Server) ready() bool {
	c, err := net.Dial("unix", s.Socket())
	if err != nil {
		return false
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(time.Second))
	if _, err := c.Write([]byte("PING\r\n")); err != nil {
		return false
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	return err == nil && strings.HasPrefix(line, "+PONG")
}

// why says why the server ended by itself. Of its log only lines are quoted that tell no
// keys.
func (s *Server) why() error {
	log, err := os.ReadFile(s.log())
	if err != nil {
		return fmt.Errorf("%w: %s ended at once", ErrNotLoaded, s.version)
	}
	for line := range strings.Lines(string(log)) {
		_, said, _ := strings.Cut(strings.TrimSpace(line), " # ")
		for _, tooOld := range []string{"Can't handle RDB format version", "Wrong signature", "no matching module"} {
			if strings.Contains(said, tooOld) {
				return fmt.Errorf("%w: %s says: %s", ErrTooOld, s.version, said)
			}
		}
		if strings.Contains(said, "Unknown RDB encoding type") {
			return fmt.Errorf("%w: %s finds a type of value in it that it does not know", ErrTooOld, s.version)
		}
	}
	return fmt.Errorf("%w: %s ended before it had all of it", ErrNotLoaded, s.version)
}

// Close ends the server and removes its directory.
func (s *Server) Close() error {
	if s.proc != nil {
		s.proc.Kill()
	}
	return os.RemoveAll(s.dir)
}
