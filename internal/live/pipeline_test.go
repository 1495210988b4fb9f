package live_test

import (
	"bytes"
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

func TestPipelineAnswersEachCommand(t *testing.T) {
	r := redistest.Start(t)
	s := dial(t, r.URL(), live.Options{})
	ctx := context.Background()
	got, err := s.Pipeline(ctx, 2, [][]any{
		{"SET", "a", []byte("x\x00y")}, {"GET", "a"}, {"GET", "nosuch"}, {"INCR", "a"}, {"RPUSH", "l", 1, "2"},
		{"LRANGE", "l", 0, -1}, {"EVAL", "return {1, false, redis.error_reply('BAD luck')}", 0}, {"NOSUCH", "s3cret"},
		{"ZADD", "z", 1.5, "m"}, {"ZSCORE", "z", "m"}, {"HMGET", "h", "f", "g"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{
		`OK`, "x\x00y", `<nil>`, `ERR value is not an integer or out of range`, `2`, `[1 2]`,
		`[1 <nil> BAD luck]`, "ERR unknown command 'NOSUCH'", `1`, `1.5`, `[<nil> <nil>]`,
	} {
		if s := fmt.Sprint(got[i]); s != want {
			t.Errorf("reply %d: got %s, want %s", i, s, want)
		}
	}
	var e *live.ReplyError
	if !errors.As(got[3].(error), &e) || e.Code() != "ERR" || !errors.Is(got[7].(error), live.ErrDenied) {
		t.Errorf("errors: %v, %v", got[3], got[7])
	}
	if n := r.Do("DBSIZE"); n != int64(0) {
		t.Errorf("database 0 has %v keys, want 0", n)
	}
	if got, err := s.Pipeline(ctx, 0, nil); err != nil || len(got) != 0 {
		t.Errorf("no commands: %v %v", got, err)
	}
}

func TestPipelineOfManyAndLargeCommands(t *testing.T) {
	r := redistest.Start(t)
	s := dial(t, r.URL(), live.Options{})
	big := bytes.Repeat([]byte("x"), 3<<20)
	var cmds [][]any
	for i := range 3000 {
		if i%500 == 0 {
			cmds = append(cmds, []any{"SET", i, big})
			continue
		}
		cmds = append(cmds, []any{"INCRBY", i, i})
	}
	got, err := s.Pipeline(context.Background(), 0, cmds)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range got {
		if want := any(int64(i)); i%500 != 0 && v != want {
			t.Fatalf("reply %d: got %v, want %v", i, v, want)
		}
	}
}

// cutter answers the login, then two replies and half a third to the first pipeline,
// and hangs up.
func cutter(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		buf := make([]byte, 4096)
		for {
			n, err := c.Read(buf)
			if err != nil {
				return
			}
			switch cmd := strings.ToLower(string(buf[:n])); {
			case strings.Contains(cmd, "hello"):
				_, _ = io.WriteString(c, "-ERR unknown command 'hello', with args beginning with: '2' 's3cret' \r\n")
			case strings.Contains(cmd, "ping"):
				_, _ = io.WriteString(c, "+PONG\r\n")
			default:
				_, _ = io.WriteString(c, "+OK\r\n:2\r\n$10\r\nhalf")
				return
			}
		}
	}()
	return l.Addr().String()
}

func TestPipelineTellsWhatWasAnsweredBeforeTheBreak(t *testing.T) {
	s := dial(t, "redis://"+cutter(t), live.Options{})
	got, err := s.Pipeline(context.Background(), 0, [][]any{{"SET", "a", "1"}, {"INCR", "a"}, {"GETDEL", "a"}, {"INCR", "a"}})
	if !errors.Is(err, live.ErrUnreachable) {
		t.Fatalf("got %v, want %v", err, live.ErrUnreachable)
	}
	if got[0] != "OK" || got[1] != int64(2) {
		t.Errorf("replies: %v", got)
	}
	for _, i := range []int{2, 3} {
		if lost, _ := got[i].(error); !errors.Is(lost, live.ErrUnreachable) {
			t.Errorf("reply %d: got %v, want %v", i, got[i], live.ErrUnreachable)
		}
	}
}

func TestPipelineComesBackWithTheServer(t *testing.T) {
	r := redistest.Start(t)
	s := dial(t, r.URL(), live.Options{})
	ctx := context.Background()
	r.Kill()
	got, err := s.Pipeline(ctx, 0, [][]any{{"GET", "a"}, {"GET", "b"}})
	if !errors.Is(err, live.ErrUnreachable) || !errors.Is(got[1].(error), live.ErrUnreachable) {
		t.Errorf("dead server: got %v, %v", got, err)
	}
	r.Restart(true)
	if got, err = s.Pipeline(ctx, 0, [][]any{{"GET", "a"}}); err != nil || got[0] != nil {
		t.Errorf("after the restart: got %v, %v", got, err)
	}
	_ = s.Close()
	if _, err = s.Pipeline(ctx, 0, [][]any{{"GET", "a"}}); err == nil {
		t.Error("a closed server still answers")
	}
}

func TestScriptsSurviveARestartOfTheServer(t *testing.T) {
	for name, opts := range map[string][]redistest.Option{"socket": nil, "tls": {redistest.WithTLS()}} {
		t.Run(name, func(t *testing.T) {
			r := redistest.Start(t, opts...)
			s := dial(t, r.URL(), live.Options{})
			ctx := context.Background()
			script := live.NewScript(`if ARGV[1] == 'bad' then return redis.error_reply('REFUSED on purpose') end
				return redis.call('incrby', KEYS[1], ARGV[1])`)
			run := func(want string) {
				t.Helper()
				got, err := s.Run(ctx, 1, script, []live.Call{
					{Keys: []string{"n"}, Args: []any{2}}, {Keys: []string{"n"}, Args: []any{"bad"}}, {Keys: []string{"n"}, Args: []any{[]byte("3")}},
				})
				if err != nil {
					t.Fatal(err)
				}
				if s := fmt.Sprint(got); s != want {
					t.Errorf("got %s, want %s", s, want)
				}
			}
			run("[2 REFUSED on purpose 5]")
			r.Restart(true)
			run("[2 REFUSED on purpose 5]")
			r.Do("SCRIPT", "FLUSH")
			run("[7 REFUSED on purpose 10]")
			if n := r.Info("commandstats", "cmdstat_eval"); n != "" {
				t.Errorf("the source was sent with a call: %s", n)
			}
		})
	}
}

func TestScriptForgottenInTheMiddleRunsEachCallOnce(t *testing.T) {
	r := redistest.Start(t)
	s := dial(t, r.URL(), live.Options{})
	script := live.NewScript(`return redis.call('incr', KEYS[1])`)
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				_ = r.Client().ScriptFlush(context.Background()).Err()
			}
		}
	}()
	calls := make([]live.Call, 20_000)
	for i := range calls {
		calls[i] = live.Call{Keys: []string{fmt.Sprintf("n:%d", i)}}
	}
	got, err := s.Run(context.Background(), 0, script, calls)
	close(done)
	<-stopped
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range got {
		if v != int64(1) {
			t.Fatalf("call %d: got %v, want 1", i, v)
		}
	}
	if n := r.Do("DBSIZE"); n != int64(len(calls)) {
		t.Errorf("keys: got %v, want %d", n, len(calls))
	}
}
