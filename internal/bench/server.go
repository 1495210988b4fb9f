package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// server is one redis-server of the benchmark's own, on a unix socket, and on a port for
// programs that know no sockets.
type server struct {
	cmd  *exec.Cmd
	dir  string
	port int
	*redis.Client
}

// start runs a redis-server over that directory, whose dump.rdb it loads if there is one.
func start(dir string, args ...string) (*server, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	sockets, err := os.MkdirTemp("/tmp", "rqb")
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	s := &server{dir: dir, port: port}
	socket := filepath.Join(sockets, "s")
	s.cmd = exec.Command("redis-server", append([]string{"--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--unixsocket", socket, "--dir", dir, "--save", "", "--appendonly", "no",
		"--repl-diskless-sync-delay", "0", "--logfile", filepath.Join(dir, "log"), "--enable-debug-command", "yes"}, args...)...)
	began := time.Now()
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	s.Client = redis.NewClient(&redis.Options{Network: "unix", Addr: socket, ReadTimeout: 10 * time.Minute, DisableIdentity: true})
	for time.Since(began) < 10*time.Minute {
		if err := s.Ping(context.Background()).Err(); err == nil {
			return s, nil
		}
		time.Sleep(5 * time.Millisecond) // nothing tells when a server is ready but asking it
	}
	return nil, errors.Join(fmt.Errorf("redis-server in %s does not answer", dir), s.stop())
}

func (s *server) socket() string { return s.Client.Options().Addr }
func (s *server) url() string    { return "unix://" + s.socket() + "?db=0" }

func (s *server) address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// freePort is one that nobody listens on.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

// stop ends the server without a save.
func (s *server) stop() error {
	_ = s.Close()
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	return os.RemoveAll(filepath.Dir(s.socket()))
}

// prepare returns a directory whose dump.rdb holds the dataset, made at the first call.
func prepare(work string, d dataset) (string, error) {
	dir := filepath.Join(work, fmt.Sprintf("data-%s-%d", d.name, seed))
	if _, err := os.Stat(filepath.Join(dir, "done")); err == nil {
		return dir, nil
	}
	s, err := start(dir)
	if err != nil {
		return "", err
	}
	say("making the dataset: %d jobs, %d other keys", d.jobs, d.other)
	err = d.fill(s.socket())
	if err == nil {
		err = s.Save(context.Background()).Err()
	}
	if err := errors.Join(err, s.stop()); err != nil {
		return "", err
	}
	return dir, os.WriteFile(filepath.Join(dir, "done"), nil, 0o600)
}
