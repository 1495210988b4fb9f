package live_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"rqvault/internal/live"
	"rqvault/internal/redistest"
)

func TestWaitingCountsBlockedClients(t *testing.T) {
	r := redistest.Start(t, redistest.WithUser("bob on >secret ~* +@all -client"))
	s := dial(t, r.URL(), live.Options{ReadOnly: true})
	if n, err := s.Waiting(t.Context()); n != 0 || err != nil {
		t.Errorf("nobody waits: got %d, %v", n, err)
	}
	done, c := make(chan error, 2), r.Client()
	for _, command := range [][]any{{"BLPOP", "q", 0}, {"BLMOVE", "q", "p", "LEFT", "RIGHT", 0}} {
		go func() { done <- c.Do(context.Background(), command...).Err() }()
	}
	err := redistest.Poll(20*time.Second, func() error {
		if n, err := s.Waiting(t.Context()); n != 2 || err != nil {
			return fmt.Errorf("got %d, %v, want 2", n, err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	bob := dial(t, "unix://bob:secret@"+r.Socket(), live.Options{ReadOnly: true})
	if n, err := bob.Waiting(t.Context()); n != 0 || err != nil {
		t.Errorf("where CLIENT is denied: got %d, %v", n, err)
	}
	r.Do("RPUSH", "q", "a", "b")
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
