package command_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"rqvault/internal/redistest"
)

// staged is a fault as it stands: where to look, and what doctor is told besides.
type staged struct {
	url  string
	args []string
}

// fault is one thing that goes wrong, and exactly what doctor must say of it.
type fault struct {
	name  string
	stage func(t *testing.T) staged
	want  []string // findings, as "name level"
	says  string   // words in one of them, as "name: words"
}

// TestEachFaultIsNamed stages each fault on a real server of its own.
func TestEachFaultIsNamed(t *testing.T) {
	t.Parallel()
	for _, faults := range [][]fault{faultsOfTheWay, faultsOfTheServer, faultsOfItsData, faultsOfQueues, faultsOfSnapshots} {
		for _, f := range faults {
			t.Run(f.name, func(t *testing.T) {
				t.Parallel()
				s := f.stage(t)
				d, code := examine(t, s.url, s.args...)
				wantFindings(t, d, code, f.want...)
				check, words, _ := strings.Cut(f.says, ": ")
				if !strings.Contains(d.what(check), words) {
					t.Errorf("%s says %q, want %q in it", check, d.what(check), words)
				}
			})
		}
	}
}

var faultsOfTheWay = []fault{
	{"the name does not resolve", func(*testing.T) staged { return staged{url: "redis://nosuch.invalid"} },
		[]string{"name fail"}, "name: does not resolve"},
	{"nothing listens", func(*testing.T) staged { return staged{url: "redis://127.0.0.1:1"} },
		[]string{"connection fail"}, "connection: connection refused"},
	{"no socket", func(*testing.T) staged { return staged{url: "unix:///nowhere/redis.sock"} },
		[]string{"connection fail"}, "connection: no such socket"},
	{"it takes the connection and is silent", silent, []string{"answer fail"}, "answer: does not answer"},
	{"its process is stopped", func(t *testing.T) staged {
		s := patient(t, redistest.WithTCP())
		stop(t, s)
		return staged{url: s.URL()}
	}, []string{"answer fail"}, "answer: does not answer"},
	{"an HTTP server", func(t *testing.T) staged {
		s := httptest.NewServer(http.NotFoundHandler())
		t.Cleanup(s.Close)
		return staged{url: "redis://" + s.Listener.Addr().String()}
	}, []string{"answer fail"}, "answer: not Redis"},
	{"the certificate expired", func(t *testing.T) staged {
		return staged{url: patient(t, redistest.WithCertificateUntil(time.Now().Add(-time.Hour))).URL()}
	}, []string{"tls fail"}, "tls: has ended"},
	{"the certificate ends soon", func(t *testing.T) staged { return staged{url: patient(t, redistest.WithTLS()).URL()} },
		[]string{"tls warn"}, "tls: ends in"},
	{"another authority", func(t *testing.T) staged {
		f := redistest.NewFiles(t)
		return staged{url: "rediss://" + patient(t, redistest.WithTLS()).Addr() + "?" + url.Values{"ca_cert": {f.CA}}.Encode()}
	}, []string{"tls fail"}, "tls: not trusted"},
	{"TLS to a plain port", func(t *testing.T) staged {
		return staged{url: "rediss://" + patient(t, redistest.WithTCP()).Addr()}
	}, []string{"tls fail"}, "tls: handshake"},
	{"no password given", func(t *testing.T) staged {
		return staged{url: "redis://" + patient(t, redistest.WithTCP(), redistest.WithPassword("right")).Addr()}
	}, []string{"login fail"}, "login: none was given"},
	{"a wrong password", func(t *testing.T) staged {
		return staged{url: "redis://:hunter2@" + patient(t, redistest.WithTCP(), redistest.WithPassword("right")).Addr()}
	}, []string{"login fail"}, "login: is wrong"},
	{"no such database", func(t *testing.T) staged {
		return staged{url: "redis://" + patient(t, redistest.WithTCP()).Addr() + "/99"}
	},
		[]string{"answer fail"}, "answer: does not exist"},
	{"no connection is left", func(t *testing.T) staged {
		s := patient(t, redistest.WithTCP(), redistest.WithArgs("--maxclients", "10"))
		connect(t, s, 10)
		return staged{url: s.URL()}
	}, []string{"answer fail"}, "answer: maxclients"},
	{"a script does not end", busy, []string{"answer fail"}, "answer: BUSY"},
	{"a user who may not restore", func(t *testing.T) staged {
		s := patient(t, redistest.WithTCP(), redistest.WithUser("bob on >hunter2 ~* resetchannels +@all -restore -evalsha"))
		return staged{url: "redis://bob:hunter2@" + s.Addr()}
	}, []string{"rights warn"}, "rights: evalsha, restore"},
	{"no fault: it tells little, as a managed Redis does", func(t *testing.T) staged {
		s := patient(t, redistest.WithTCP(), redistest.WithUser("bob on >hunter2 ~* resetchannels +@all -config -slowlog -client -acl -latency"))
		return staged{url: "redis://bob:hunter2@" + s.Addr()}
	}, nil, "persistence: CONFIG GET save cannot be read"},
	{"a user who may do nothing", func(t *testing.T) staged {
		s := patient(t, redistest.WithTCP(), redistest.WithUser("bob on >hunter2 resetchannels +ping +info"))
		return staged{url: "redis://bob:hunter2@" + s.Addr()}
	}, []string{"rights warn"}, "rights: scan"},
}

// silent listens and never answers.
func silent(t *testing.T) staged {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		var held []net.Conn
		for {
			c, err := l.Accept()
			if err != nil {
				break
			}
			held = append(held, c)
		}
		for _, c := range held {
			_ = c.Close()
		}
	}()
	return staged{url: "redis://" + l.Addr().String()}
}

// connect opens so many connections and holds them.
func connect(t *testing.T, s *redistest.Server, n int) {
	for range n {
		c, err := net.Dial(s.Network(), s.Addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	until(t, "the connections", func() bool {
		there, err := strconv.Atoi(field(s, "connected_clients"))
		return err == nil && there >= n
	})
}

// field reads INFO, "" if Redis refuses.
func field(s *redistest.Server, name string) string {
	text, err := s.Client().Info(context.Background()).Result()
	if err != nil {
		return ""
	}
	_, after, _ := strings.Cut(text, "\n"+name+":")
	value, _, _ := strings.Cut(after, "\n")
	return strings.TrimSpace(value)
}

func busy(t *testing.T) staged {
	s := patient(t, redistest.WithTCP(), redistest.WithArgs("--lua-time-limit", "50"))
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Client().Eval(context.Background(), "while true do end", nil).Err() // it is killed in the end
	}()
	t.Cleanup(func() { s.Do("SCRIPT", "KILL"); <-done })
	until(t, "BUSY", func() bool {
		err := s.Client().Ping(context.Background()).Err()
		return err != nil && strings.HasPrefix(err.Error(), "BUSY")
	})
	return staged{url: s.URL()}
}

var faultsOfTheServer = []fault{
	{"loading", loading, []string{"loading fail"}, "loading: it is loading its data"},
	{"a replica of a dead master", func(t *testing.T) staged {
		s := patient(t)
		s.Do("REPLICAOF", "127.0.0.1", "1")
		until(t, "the log", func() bool { return strings.Contains(s.Log(), "Error condition on socket for SYNC") })
		return staged{url: s.URL()}
	}, []string{"role warn", "replication fail", "log warn"}, "replication: the link to its master 127.0.0.1:1 is down"},
	{"a replica that is behind", func(t *testing.T) staged {
		master := patient(t, redistest.WithTCP(), redistest.WithArgs("--repl-diskless-sync-delay", "0"))
		replica := redistest.Start(t)
		follow(t, replica, master)
		stop(t, replica)
		until(t, "the lag", func() bool {
			_, after, _ := strings.Cut(field(master, "slave0"), "lag=")
			n, err := strconv.Atoi(after)
			return err == nil && n >= 5
		})
		return staged{url: master.URL()}
	}, []string{"replication warn"}, "replication: s behind"},
	{"too few replicas to write", func(t *testing.T) staged {
		s := patient(t)
		s.Do("CONFIG", "SET", "min-replicas-to-write", 1)
		return staged{url: s.URL()}
	}, []string{"replication fail"}, "replication: NOREPLICAS"},
	{"a cluster", func(t *testing.T) staged {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		bus := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
		_ = l.Close() // only its number was wanted
		return staged{url: redistest.Start(t, saves(), redistest.WithTCP(), redistest.WithArgs("--cluster-enabled", "yes", "--cluster-port", bus)).URL()}
	}, []string{"cluster fail"}, "cluster: RQ cannot use a cluster"},
	{"maxmemory is used up", func(t *testing.T) staged {
		s := patient(t)
		s.Do("SET", "filler", strings.Repeat("x", 4<<20))
		s.Do("CONFIG", "SET", "maxmemory", 3<<20)
		return staged{url: s.URL()}
	}, []string{"memory fail"}, "memory: OOM"},
	{"maxmemory is nearly used up", func(t *testing.T) staged {
		s := patient(t)
		for i := range 400 { // in small pieces: what a client has sent is held, too, for a while
			s.Do("SET", i, strings.Repeat("x", 50<<10))
		}
		used, err := strconv.Atoi(field(s, "used_memory"))
		if err != nil {
			t.Fatal(err)
		}
		s.Do("CONFIG", "SET", "maxmemory", used*106/100)
		return staged{url: s.URL()}
	}, []string{"memory warn"}, "memory: maxmemory"},
	{"any key may be evicted", func(t *testing.T) staged {
		return staged{url: patient(t, redistest.WithArgs("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")).URL()}
	}, []string{"eviction fail"}, "eviction: allkeys-lru"},
	{"nearly no connection is left", func(t *testing.T) staged {
		s := patient(t, redistest.WithArgs("--maxclients", "14"))
		connect(t, s, 11)
		return staged{url: s.URL()}
	}, []string{"clients warn"}, "clients: possible clients"},
	{"connections were refused", func(t *testing.T) staged {
		s := patient(t, redistest.WithArgs("--maxclients", "14"))
		s.Do("PING") // holds a connection of its own
		for range 20 {
			c, err := net.Dial("unix", s.Socket())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close() }()
		}
		until(t, "a refusal", func() bool { return field(s, "rejected_connections") != "0" })
		s.Do("CONFIG", "SET", "maxclients", 100)
		return staged{url: s.URL()}
	}, []string{"clients warn"}, "clients: refused since the start"},
	{"slow commands", func(t *testing.T) staged {
		s := patient(t)
		for range 3 {
			s.Do("DEBUG", "SLEEP", "0.26")
		}
		return staged{url: s.URL()}
	}, []string{"slow-log warn"}, "slow-log: debug 3×"},
}

// stop stops a server as SIGSTOP does, until the test ends.
func stop(t *testing.T, s *redistest.Server) {
	if err := syscall.Kill(s.Pid(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(s.Pid(), syscall.SIGCONT) })
}

func loading(t *testing.T) staged {
	s := patient(t, redistest.WithReadyWhileLoading(), redistest.WithArgs("--key-load-delay", "20000", "--loading-process-events-interval-bytes", "1024"))
	for i := range 1000 {
		s.Do("SET", i, strings.Repeat("xyz", 400))
	}
	s.Do("CONFIG", "SET", "rdbcompression", "no")
	s.Save()
	s.Restart(false)
	return staged{url: s.URL()}
}

var faultsOfItsData = []fault{
	{"neither save points nor AOF", func(t *testing.T) staged {
		return staged{url: patient(t, redistest.WithArgs("--save", "")).URL()}
	}, []string{"persistence warn"}, "persistence: a restart loses every job"},
	{"the data directory is gone", func(t *testing.T) staged {
		s := patient(t)
		if err := os.Remove(s.Dir()); err != nil {
			t.Fatal(err)
		}
		failSave(t, s)
		return staged{url: s.URL()}
	}, []string{"disk fail", "misconf fail", "last-save fail", "log fail"}, "misconf: MISCONF"},
	{"the disk is full", func(t *testing.T) staged {
		s := patient(t)
		fullDisk(t, s)
		failSave(t, s)
		return staged{url: s.URL()}
	}, []string{"misconf fail", "last-save fail", "log fail"}, "log: the disk is or was full"},
	{"a save failed, and writes go on", func(t *testing.T) staged {
		s := patient(t, redistest.WithArgs("--stop-writes-on-bgsave-error", "no"))
		fullDisk(t, s)
		failSave(t, s)
		return staged{url: s.URL()}
	}, []string{"last-save fail", "log fail"}, "last-save: failed"},
	{"the AOF is broken", brokenAOF, []string{"connection fail", "log fail"}, "log: redis-check-aof"},
	{"the AOF is never synced", func(t *testing.T) staged {
		return staged{url: patient(t, redistest.WithArgs("--appendonly", "yes", "--appendfsync", "no")).URL()}
	}, []string{"persistence warn"}, "persistence: appendfsync"},
}

// failSave lets a save fail.
func failSave(t *testing.T, s *redistest.Server) {
	s.Do("SET", "k", marker)
	s.Do("BGSAVE")
	until(t, "the save to fail", func() bool { return s.Info("persistence", "rdb_last_bgsave_status") == "err" })
}

// fullDisk lets every file that a save may begin with be one that has no room. A save is
// a process of its own and names its file by its id, which is one of the next.
func fullDisk(t *testing.T, s *redistest.Server) {
	newest, most := procNumber(t, "/proc/loadavg", 4), procNumber(t, "/proc/sys/kernel/pid_max", 0)
	for i := range 6000 {
		if err := os.Symlink("/dev/full", filepath.Join(s.Dir(), fmt.Sprintf("temp-%d.rdb", (newest+i)%most))); err != nil {
			t.Fatal(err)
		}
	}
}

// procNumber reads the nth word of a file as a number.
func procNumber(t *testing.T, path string, nth int) int {
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.Fields(string(b))[nth])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// brokenAOF breaks an AOF in its middle and starts a server on it, which ends.
func brokenAOF(t *testing.T) staged {
	s := redistest.Start(t, redistest.WithArgs("--appendonly", "yes"))
	for i := range 100 {
		s.Do("SET", i, marker)
	}
	s.Stop()
	found, err := filepath.Glob(filepath.Join(s.Dir(), "*", "*.incr.aof"))
	if err != nil || len(found) != 1 {
		t.Fatalf("AOFs: %q, %v", found, err)
	}
	b, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	copy(b[len(b)/2:], "broken broken broken broken")
	if err := os.WriteFile(found[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(t.TempDir(), "log")
	cmd := exec.Command("redis-server", "--dir", s.Dir(), "--appendonly", "yes", "--port", "0", "--unixsocket", s.Socket(), "--logfile", log)
	if err := cmd.Run(); err == nil {
		t.Fatal("redis-server starts with a broken AOF")
	}
	return staged{url: s.URL(), args: []string{"--redis-log", log}}
}
