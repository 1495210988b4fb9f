package notify

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// Heartbeat tells a dead man's switch that all is well, so that it calls for help when it
// hears nothing: of a daemon that is gone nobody else would tell.
type Heartbeat struct{ URL Secret }

// Attempts of one beat, and the pause after the first; it doubles. The next beat comes with
// the next success, so there is no point in going on for long.
const (
	beats     = 4
	beatPause = 2 * time.Second
)

// Beat tells of a success.
func (h Heartbeat) Beat(ctx context.Context) error {
	header := http.Header{"Content-Type": {"text/plain; charset=utf-8"}}
	pause := beatPause
	for i := 1; ; i++ {
		err := post(ctx, h.URL, header, nil)
		if err == nil || i == beats || errors.Is(err, ErrRefused) {
			return err
		}
		if !sleep(ctx, pause) {
			return err
		}
		pause *= 2
	}
}

// sleep waits, and reports whether it did so to the end.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
