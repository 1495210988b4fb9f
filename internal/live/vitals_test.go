package live_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"rqvault/internal/live"
	"rqvault/internal/redistest"
)

// reach goes the way to a URL as doctor does.
func reach(t *testing.T, raw string) live.Probe {
	t.Helper()
	target, err := live.ParseURL(raw)
	if err != nil {
		t.Fatal(err)
	}
	p := live.Reach(t.Context(), target, live.Options{ReadOnly: true, DialTimeout: 5 * time.Second})
	if p.Server != nil {
		t.Cleanup(func() { _ = p.Server.Close() })
	}
	if (p.Failed == "") != (p.Err == nil) || (p.Err == nil) != (p.Server != nil) {
		t.Errorf("%s: stage %q, error %v, server %v", raw, p.Failed, p.Err, p.Server)
	}
	return p
}

func TestReachNamesTheStage(t *testing.T) {
	end := time.Now().Add(-time.Hour).Truncate(time.Second)
	locked := redistest.Start(t, redistest.WithTCP(), redistest.WithPassword("right"))
	expired := redistest.Start(t, redistest.WithCertificateUntil(end))
	for _, c := range []struct {
		url   string
		stage live.Stage
		cause error
	}{
		{"redis://nosuch.invalid", live.AtName, live.ErrUnreachable},
		{"redis://127.0.0.1:1", live.AtConnect, live.ErrUnreachable},
		{"redis+sentinel://127.0.0.1:1/main", live.AtSentinels, live.ErrNoMaster},
		{expired.URL(), live.AtTLS, live.ErrTLS},
		{"redis://" + locked.Addr(), live.AtAnswer, live.ErrAuth},
		{"redis://:right@" + strings.Replace(locked.Addr(), "127.0.0.1", "localhost", 1), "", nil},
	} {
		p := reach(t, c.url)
		if p.Failed != c.stage || !errors.Is(p.Err, c.cause) {
			t.Errorf("%s: stage %q, %v; want %q, %v", c.url, p.Failed, p.Err, c.stage, c.cause)
		}
		if c.stage == live.AtTLS && !p.CertEnds.Equal(end) {
			t.Errorf("the certificate ends at %s, want %s", p.CertEnds, end)
		}
		if c.stage == "" && !slices.Contains(p.Addrs, "127.0.0.1") {
			t.Errorf("localhost is %q", p.Addrs)
		}
	}
}

// Looking at a server behind TLS must not count as a connection that it refused.
func TestReachIsNoRefusedConnection(t *testing.T) {
	s := redistest.Start(t, redistest.WithTLS())
	for range 5 {
		reach(t, s.URL())
	}
	if n := s.Info("stats", "rejected_connections"); n != "0" {
		t.Errorf("%s connections were refused", n)
	}
}

func TestVitals(t *testing.T) {
	s := redistest.Start(t, redistest.WithUser("bob on >pw ~* +@all -restore -acl|dryrun"), redistest.WithArgs("--slowlog-log-slower-than", "0"))
	s.Do("SET", "k", "a payload")
	x := dial(t, s.URL(), live.Options{ReadOnly: true})
	found, err := x.Settings(t.Context(), "maxclients", "nosuch", "appendonly")
	if err != nil || len(found) != 2 || found["appendonly"] != "no" {
		t.Errorf("settings: %v, %v", found, err)
	}
	slow, err := x.SlowLog(t.Context(), 100)
	if err != nil || !slices.ContainsFunc(slow, func(c live.SlowCommand) bool { return c.Name == "set" && !c.At.IsZero() }) {
		t.Errorf("slow log: %v, %v", slow, err)
	}
	if n, err := x.LargestOutput(t.Context()); n != 0 || err != nil {
		t.Errorf("largest output buffer: %d, %v", n, err)
	}
	if took, err := x.Ping(t.Context()); took <= 0 || err != nil {
		t.Errorf("ping: %s, %v", took, err)
	}
	commands := [][]string{{"get", "k"}, {"restore", "k", "0", "x"}}
	if may, err := x.MayRun(t.Context(), "bob", commands); err != nil || !slices.Equal(may, []bool{true, false}) {
		t.Errorf("bob may: %v, %v", may, err)
	}
	bob := dial(t, "unix://bob:pw@"+s.Socket(), live.Options{ReadOnly: true})
	if user, err := bob.Whoami(t.Context()); user != "bob" || err != nil {
		t.Errorf("who: %q, %v", user, err)
	}
	if may, err := bob.MayRun(t.Context(), "bob", commands); !errors.Is(err, live.ErrDenied) {
		t.Errorf("without the right to ask: %v, %v", may, err)
	}
}
