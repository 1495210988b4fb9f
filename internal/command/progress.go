package command

import (
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// bar shows how far a long command is, on a terminal only. It is a backup.Progress.
type bar struct {
	e    *env
	mu   sync.Mutex
	now  *progressbar.ProgressBar
	what string
	next time.Time
}

// barInterval keeps the terminal from being the bottleneck.
const barInterval = 100 * time.Millisecond

// barPatience keeps what takes no time from flashing a bar.
const barPatience = 500 * time.Millisecond

// startProgress returns the command's progress: nil-safe, and silent in a pipe or with
// --quiet.
func (e *env) startProgress(quiet bool) *bar {
	f, ok := e.err.(*os.File)
	if quiet || !ok || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	e.bar = &bar{e: e}
	return e.bar
}

func (e *env) stopProgress() {
	if e.bar != nil {
		e.bar.stop()
	}
}

// Begin implements backup.Progress. A total of -1 shows a spinner instead of a bar.
func (b *bar) Begin(what string, total int64) { b.begin(what, total, true) }

func (b *bar) begin(what string, total int64, bytes bool) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.clear()
	b.what, b.next = what, time.Now().Add(barPatience)
	b.now = progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(b.e.err), progressbar.OptionSetDescription(what), progressbar.OptionShowBytes(bytes),
		progressbar.OptionShowCount(), progressbar.OptionThrottle(barInterval), progressbar.OptionClearOnFinish(),
		progressbar.OptionSetPredictTime(true), progressbar.OptionSetWidth(24), progressbar.OptionSpinnerType(14))
	if total < 0 {
		_ = b.now.RenderBlank() // a spinner turns by itself, while nothing is counted
	}
}

// Update implements backup.Progress.
func (b *bar) Update(bytes, keys, jobs int64) {
	b.set(bytes, func() string { return fmt.Sprintf("%s, %d keys, %d jobs", b.what, keys, jobs) })
}

// at moves a bar that counts things.
func (b *bar) at(n int64) { b.set(n, nil) }

// begun makes sure that a bar of that name and total is shown, and moves it.
func (b *bar) begun(what string, n, total int64) {
	if b == nil {
		return
	}
	b.mu.Lock()
	other := b.what != what
	b.mu.Unlock()
	if other {
		b.begin(what, total, false)
	}
	b.at(n)
}

func (b *bar) set(n int64, describe func() string) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if b.now == nil || now.Before(b.next) {
		return
	}
	b.next = now.Add(barInterval)
	if describe != nil {
		b.now.Describe(describe())
	}
	_ = b.now.Set64(n)
}

func (b *bar) clear() {
	if b.now != nil {
		_ = b.now.Finish() // ends a spinner's own goroutine
		_ = b.now.Clear()
		b.now = nil
	}
}

func (b *bar) stop() {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.clear()
}
