package live_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"rqvault/internal/live"
	"rqvault/internal/redistest"
)

func dial(t *testing.T, rawURL string, opts live.Options) *live.Server {
	t.Helper()
	target, err := live.ParseURL(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	s, err := live.Dial(context.Background(), target, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestParseURL(t *testing.T) {
	for _, c := range []struct{ raw, want, password string }{
		{"redis://localhost", "redis://localhost:6379/0", ""},
		{"redis://localhost:7000/3", "redis://localhost:7000/3", ""},
		{"redis://:p%40s%3As@h/1", "redis://h:6379/1", "p@s:s"},
		{"redis://bob:secret@[::1]:6380/2", "redis://bob@[::1]:6380/2", "secret"},
		{"redis://[::1]", "redis://[::1]:6379/0", ""},
		{"redis://h?db=4", "redis://h:6379/4", ""},
		{"rediss://h?insecure=true&server_name=x", "rediss://h:6379/0", ""},
		{"unix:///run/redis.sock?db=5", "unix:///run/redis.sock?db=5", ""},
		{"unix://:pw@/run/redis.sock", "unix:///run/redis.sock", "pw"},
		{"redis+sentinel://a,b:7/jobs", "redis+sentinel://a:26379,b:7/jobs/0", ""},
		{"redis+sentinel://u:pw@a:1,b:2/jobs/3", "redis+sentinel://u@a:1,b:2/jobs/3", "pw"},
		{"rediss+sentinel://a:1/jobs/3", "rediss+sentinel://a:1/jobs/3", ""},
	} {
		got, err := live.ParseURL(c.raw)
		if err != nil {
			t.Errorf("%s: %v", c.raw, err)
			continue
		}
		if got.String() != c.want || got.Password != c.password {
			t.Errorf("%s: got %s password %q, want %s password %q", c.raw, got, got.Password, c.want, c.password)
		}
		if s := fmt.Sprintf("%v %+v %#v", got, got, got); c.password != "" && strings.Contains(s, c.password) {
			t.Errorf("%s: printed with its password: %s", c.raw, s)
		}
	}
}

func TestParseURLErrorsHideThePassword(t *testing.T) {
	for _, raw := range []string{
		"", "localhost:6379", "http://:hunter2@h", "redis://", "redis://:hunter2@", "redis://:hunter2@h/x",
		"redis://:hunter2@h/-1", "redis://:hunter2@h:99999", "redis://:hun/ter2@h", "redis://:hunter2?x@h",
		"redis://u?hunter2=1@h", "redis://:hunter2%zz@h", "redis://:hunter2@h?nosuch=1", "redis://:hunter2@h?ca_cert=/x",
		"rediss://:hunter2@h?ca_cert=/does/not/exist", "rediss://:hunter2@h?cert=/x", "rediss://:hunter2@h?insecure=maybe",
		"unix://:hunter2@", "unix://relative/path", "redis+sentinel://:hunter2@a:1", "redis+sentinel://:hunter2@a:1,b:x/m",
		"redis://:hunter2@h/1?db=2", "redis://:hunter2@a:1,b:2/0", "redis://:hunter2@::1/0",
	} {
		got, err := live.ParseURL(raw)
		if err == nil {
			t.Errorf("%s: got %s, want an error", raw, got)
			continue
		}
		if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "ter2") {
			t.Errorf("%s: the error shows the password: %v", raw, err)
		}
	}
}

func TestDialReachesEveryKindOfServer(t *testing.T) {
	tcp := redistest.Start(t, redistest.WithTCP(), redistest.WithPassword("p@ss/w:rd"),
		redistest.WithUser("reader on >s3cret ~* +@read +ping"), redistest.WithUser("mute on >s3cret ~* -@all"))
	secure := redistest.Start(t, redistest.WithTLS())
	tcp.Do("SELECT", "0")
	for name, raw := range map[string]string{
		"tcp with password": tcp.URL(),
		"unix socket":       tcp.SocketURL(),
		"acl user":          "redis://reader:s3cret@" + tcp.Addr() + "/3",
		"no right to ping":  "redis://mute:s3cret@" + tcp.Addr(),
		"tls":               secure.URL(),
		"tls by name":       strings.Replace(secure.URL(), "127.0.0.1", "localhost", 1),
	} {
		s := dial(t, raw, live.Options{})
		if strings.Contains(s.Target().String(), "p@ss") {
			t.Errorf("%s: target shows its password", name)
		}
	}
}

func TestDialNamesTheCause(t *testing.T) {
	locked := redistest.Start(t, redistest.WithTCP(), redistest.WithPassword("right"))
	secure := redistest.Start(t, redistest.WithTLS())
	other := redistest.NewFiles(t)
	f := secure.TLS()
	for _, c := range []struct {
		name, url string
		want      error
	}{
		{"nobody listens", "redis://127.0.0.1:1", live.ErrUnreachable},
		{"no such socket", "unix:///nonexistent/socket", live.ErrUnreachable},
		{"no password", "redis://" + locked.Addr(), live.ErrAuth},
		{"wrong password", "redis://:wrong-hunter2@" + locked.Addr(), live.ErrAuth},
		{"wrong user", "redis://bob:wrong-hunter2@" + locked.Addr(), live.ErrAuth},
		{"no such db", "redis://:right@" + locked.Addr() + "/99", live.ErrNoDB},
		{"tls to a plain port", "rediss://:right@" + locked.Addr() + "?insecure=true", live.ErrTLS},
		{"plain to a tls port", "redis://" + secure.Addr(), live.ErrUnreachable},
		{"unknown ca", "rediss://" + secure.Addr(), live.ErrTLS},
		{"other ca", "rediss://" + secure.Addr() + "?ca_cert=" + other.CA, live.ErrTLS},
		{"no client certificate", "rediss://" + secure.Addr() + "?ca_cert=" + f.CA, live.ErrTLS},
		{"wrong name", "rediss://" + secure.Addr() + "?server_name=else.test&ca_cert=" + f.CA + "&cert=" + f.Cert + "&key=" + f.Key, live.ErrTLS},
		{"no sentinel", "redis+sentinel://127.0.0.1:1/jobs", live.ErrNoMaster},
	} {
		target, err := live.ParseURL(c.url)
		if err != nil {
			t.Fatal(err)
		}
		s, err := live.Dial(context.Background(), target, live.Options{DialTimeout: time.Second})
		if err == nil {
			_ = s.Close()
		}
		if !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error shows the password: %v", c.name, err)
		}
	}
}

func TestDialOfALoadingServer(t *testing.T) {
	r := redistest.Start(t, redistest.WithReadyWhileLoading(), redistest.WithArgs("--key-load-delay", "5000",
		"--loading-process-events-interval-bytes", "1024"))
	for i := range 1000 {
		r.Do("SET", i, strings.Repeat("xyz", 400))
	}
	r.Do("CONFIG", "SET", "rdbcompression", "no")
	r.Save()
	r.Restart(false)
	target, _ := live.ParseURL(r.URL())
	if _, err := live.Dial(context.Background(), target, live.Options{}); !errors.Is(err, live.ErrLoading) {
		t.Errorf("got %v, want %v", err, live.ErrLoading)
	}
}

// A server that accepts and never answers is found out by the idle limit, and
// a cancelled call does not wait even for that.
func TestDialOfAMuteServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(io.Discard, c) }()
		}
	}()
	target := live.Target{Network: "tcp", Addr: l.Addr().String()}
	if _, err := live.Dial(context.Background(), target, live.Options{IdleTimeout: 50 * time.Millisecond}); !errors.Is(err, live.ErrUnreachable) {
		t.Errorf("got %v, want %v", err, live.ErrUnreachable)
	}
	cause := errors.New("operator pressed ^C")
	ctx, cancel := context.WithCancelCause(context.Background())
	time.AfterFunc(20*time.Millisecond, func() { cancel(cause) })
	began := time.Now()
	if _, err := live.Dial(ctx, target, live.Options{}); !errors.Is(err, cause) {
		t.Errorf("cancelled: got %v, want %v", err, cause)
	}
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("cancelled call took %s", d)
	}
}

func TestSentinelLeadsToTheMaster(t *testing.T) {
	m := redistest.Start(t, redistest.WithTCP())
	sentinel := redistest.StartSentinel(t, "jobs", m)
	s := dial(t, "redis+sentinel://127.0.0.1:1,"+sentinel.Addr()+"/jobs/2", live.Options{})
	if got := s.Target(); got.Addr != m.Addr() || got.DB != 2 {
		t.Errorf("got %s, want %s db 2", got, m.Addr())
	}
	target, _ := live.ParseURL("redis+sentinel://" + sentinel.Addr() + "/nosuch")
	if _, err := live.Dial(context.Background(), target, live.Options{}); !errors.Is(err, live.ErrNoMaster) {
		t.Errorf("unknown name: got %v, want %v", err, live.ErrNoMaster)
	}
	// A sentinel with old news names a server that is a replica now.
	m.Do("REPLICAOF", "127.0.0.1", "1")
	target, _ = live.ParseURL("redis+sentinel://" + sentinel.Addr() + "/jobs")
	if _, err := live.Dial(context.Background(), target, live.Options{}); !errors.Is(err, live.ErrNoMaster) {
		t.Errorf("stale sentinel: got %v, want %v", err, live.ErrNoMaster)
	}
}

func TestReadOnlyRefusesEverythingThatIsNotKnownToRead(t *testing.T) {
	r := redistest.Start(t)
	r.Do("SET", "k", "v")
	before := r.Digest(context.Background())
	s := dial(t, r.URL(), live.Options{ReadOnly: true})
	ctx := context.Background()
	for _, cmd := range [][]any{
		{"SET", "k", "x"}, {"del", "k"}, {"FLUSHALL"}, {"CONFIG", "SET", "maxmemory", "1"}, {"config"}, {"SORT", "k", "STORE", "x"},
		{"GETEX", "k", "PERSIST"}, {"EVAL", "return 1", 0}, {"SCRIPT", "FLUSH"}, {"BGSAVE"}, {"SAVE"}, {"MULTI"}, {"NOSUCH"},
		{"OBJECT", "HELP"}, {"CLIENT", "KILL", "x"}, {[]byte("UNLINK"), "k"}, {"SHUTDOWN"}, {"REPLICAOF", "NO", "ONE"}, {42},
	} {
		// The refused command comes after a good one: nothing of the batch may be sent.
		replies, err := s.Pipeline(ctx, 0, [][]any{{"GET", "k"}, cmd})
		if !errors.Is(err, live.ErrReadOnly) {
			t.Errorf("%v: got %v, %v, want %v", cmd, replies, err, live.ErrReadOnly)
		}
	}
	if _, err := s.Run(ctx, 0, live.NewScript("return redis.call('del', KEYS[1])"), []live.Call{{Keys: []string{"k"}}}); !errors.Is(err, live.ErrReadOnly) {
		t.Errorf("script: got %v, want %v", err, live.ErrReadOnly)
	}
	if got := r.Digest(ctx); got != before {
		t.Error("a read-only connection changed the data")
	}
	replies, err := s.Pipeline(ctx, 0, [][]any{{"get", "k"}, {"OBJECT", "ENCODING", "k"}, {"Config", "Get", "dir"}})
	if err != nil || replies[0] != "v" {
		t.Errorf("reads: got %v, %v", replies, err)
	}
	f, _, err := s.SaveRDB(ctx, live.SaveOptions{})
	if err != nil {
		t.Fatalf("SaveRDB on a read-only connection: %v", err)
	}
	_ = f.Close()
}
