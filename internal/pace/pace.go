// Package pace keeps a stream of bytes below a rate. It knows no clock but the one it is
// given, and no network.
package pace

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"
)

// burst is how long a stream may run ahead of its rate after a rest, and about how long
// one wait takes.
const burst = 100 * time.Millisecond

// least is the smallest piece that is waited for, in bytes.
const least = 512

// Limit lets so many bytes per second through, whoever asks. A nil Limit lets all through.
// It is safe for concurrent use.
type Limit struct {
	rate  int64
	now   func() time.Time
	sleep func(time.Duration)

	mu   sync.Mutex
	free time.Time // when all that was let through has been paid for
}

// New returns a Limit of so many bytes per second, by that clock. None is a nil Limit.
func New(rate int64, now func() time.Time, sleep func(time.Duration)) *Limit {
	if rate <= 0 {
		return nil
	}
	return &Limit{rate: rate, now: now, sleep: sleep}
}

// Piece is how many bytes to move at once, at most n, so that no wait is long.
func (l *Limit) Piece(n int) int {
	if l == nil {
		return n
	}
	return int(min(int64(n), max(l.rate/int64(time.Second/burst), least)))
}

// Passed says that n bytes went through, and returns when the next ones may.
func (l *Limit) Passed(n int) {
	if l == nil || n <= 0 {
		return
	}
	l.mu.Lock()
	now := l.now()
	if earliest := now.Add(-burst); l.free.Before(earliest) {
		l.free = earliest
	}
	l.free = l.free.Add(time.Duration(float64(n) / float64(l.rate) * float64(time.Second)))
	wait := l.free.Sub(now)
	l.mu.Unlock()
	if wait > 0 {
		l.sleep(wait)
	}
}

// Reader reads from r no faster than the limit.
func (l *Limit) Reader(r io.ReadCloser) io.ReadCloser {
	if l == nil {
		return r
	}
	return &reader{r, l}
}

type reader struct {
	io.ReadCloser
	l *Limit
}

func (r *reader) Read(b []byte) (int, error) {
	n, err := r.ReadCloser.Read(b[:r.l.Piece(len(b))])
	r.l.Passed(n)
	return n, err
}

var errRate = errors.New("want bytes per second, such as 50MB/s, 512KiB/s or 1000000")

// Parse reads a rate in bytes per second, as rsync reads its own: KB, MB and GB are powers
// of 1000, K, M, G, KiB, MiB and GiB of 1024; /s may follow. No text is no limit, 0.
func Parse(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	number := strings.ToLower(strings.TrimSuffix(text, "/s"))
	unit := 1.0
	for i, letter := range "kmg" {
		of := func(base float64) float64 { return math.Pow(base, float64(i+1)) }
		for _, s := range []struct {
			suffix string
			unit   float64
		}{{string(letter) + "ib", of(1024)}, {string(letter) + "b", of(1000)}, {string(letter), of(1024)}} {
			if n, ok := strings.CutSuffix(number, s.suffix); ok && unit == 1 {
				number, unit = n, s.unit
			}
		}
	}
	if unit == 1 {
		number = strings.TrimSuffix(number, "b")
	}
	n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || !(n*unit >= 1 && n*unit <= math.MaxInt64/2) {
		return 0, fmt.Errorf("%q is no rate: %w", text, errRate)
	}
	return int64(n * unit), nil
}
