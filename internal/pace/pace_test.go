package pace_test

import (
	"bytes"
	"io"
	"testing"
	"time"

	"rqvault/internal/pace"
)

// clock is a time that passes only in waits.
type clock struct {
	at      time.Time
	longest time.Duration
}

func (c *clock) now() time.Time { return c.at }
func (c *clock) sleep(d time.Duration) {
	c.at = c.at.Add(d)
	c.longest = max(c.longest, d)
}

func TestReaderKeepsTheRate(t *testing.T) {
	for _, rate := range []int64{1000, 50_000, 50_000_000} {
		c := &clock{at: time.Unix(1_800_000_000, 0)}
		l := pace.New(rate, c.now, c.sleep)
		data := make([]byte, 10*rate)
		began := c.at
		r := l.Reader(io.NopCloser(bytes.NewReader(data)))
		if n, err := io.Copy(io.Discard, r); err != nil || n != int64(len(data)) {
			t.Fatalf("got %d bytes, %v", n, err)
		}
		if took := c.at.Sub(began); took < 9800*time.Millisecond || took > 10*time.Second {
			t.Errorf("%d bytes at %d/s: took %s, want 10s less the first burst", len(data), rate, took)
		}
		if c.longest > 700*time.Millisecond {
			t.Errorf("%d/s: one wait of %s", rate, c.longest)
		}
	}
}

// Rest is no credit beyond one burst, and two who share a limit share its rate.
func TestLimitIsSharedAndForgetsRest(t *testing.T) {
	c := &clock{at: time.Unix(1_800_000_000, 0)}
	l := pace.New(1000, c.now, c.sleep)
	l.Passed(100)
	c.at = c.at.Add(time.Hour)
	began := c.at
	for range 10 {
		l.Passed(100)
		l.Passed(100)
	}
	if took := c.at.Sub(began); took != 1900*time.Millisecond {
		t.Errorf("2000 bytes took %s, want 1.9s", took)
	}
}

func TestNoLimit(t *testing.T) {
	l := pace.New(0, nil, nil)
	l.Passed(1 << 40)
	if got := l.Piece(77); got != 77 {
		t.Errorf("got a piece of %d, want 77", got)
	}
	r := io.NopCloser(bytes.NewReader(nil))
	if l.Reader(r) != r {
		t.Error("a reader without a limit is another one")
	}
}

func TestParse(t *testing.T) {
	for text, want := range map[string]int64{"": 0, "1000": 1000, "1000B/s": 1000, "50MB/s": 50_000_000, "50M": 50 << 20, "50MiB/s": 50 << 20, "1.5k": 1536,
		"2GB": 2_000_000_000, "1GiB": 1 << 30, "512 KiB/s": 512 << 10, "3kb": 3000} {
		if got, err := pace.Parse(text); err != nil || got != want {
			t.Errorf("%q: got %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"0", "-5MB/s", "fast", "MB/s", "5TB/s", "5MB/m", "NaN", "Inf", "1e30", "0.5"} {
		if got, err := pace.Parse(text); err == nil {
			t.Errorf("%q: got %d, want an error", text, got)
		}
	}
}
