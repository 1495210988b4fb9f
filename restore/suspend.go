package restore

import (
	"context"
	_ "embed"
	"fmt"
	"sync"
	"time"
)

//go:embed suspend.lua
var suspendLua string

var suspendScript = Script{suspendLua}

// SuspendLife is how long workers stay suspended after a restore that died. One that
// lives renews the flag in time.
const SuspendLife = 2 * time.Minute

// suspendMark is the flag's value, by which a restore knows that it set it. Workers look
// only whether there is one.
const suspendMark = "rqvault restore"

// suspended is a Redis whose workers are suspended while it is used.
type suspended struct {
	Redis
	key  string
	dbs  []int // where the flag is ours
	now  func() time.Time
	mu   sync.Mutex
	next time.Time // when to renew it
}

// suspend sets the flag in every database with a step. It returns how to lift it again.
func (a *applier) suspend(ctx context.Context) (lift func() error, err error) {
	s := &suspended{Redis: a.o.Redis, key: a.o.Schema.SuspendKey(), now: a.o.Now}
	lift = func() error { return s.lift(context.WithoutCancel(ctx)) }
	for _, n := range a.tasks.dbs() {
		db := int(n)
		word, err := s.flag(ctx, db, SuspendLife)
		if err != nil {
			return lift, fmt.Errorf("suspend the workers: %w", err)
		}
		ours := word == "set"
		if ours {
			s.dbs = append(s.dbs, db)
		}
		if a.o.Suspended != nil {
			a.o.Suspended(db, ours)
		}
	}
	s.next = s.now().Add(SuspendLife / 4)
	a.o.Redis = s
	return lift, nil
}

func (s *suspended) flag(ctx context.Context, db int, life time.Duration) (string, error) {
	replies, err := s.Redis.Run(ctx, db, suspendScript, []Call{{Keys: []string{s.key}, Args: []any{suspendMark, life.Milliseconds()}}})
	if err != nil {
		return "", err
	}
	if err, ok := replies[0].(error); ok {
		return "", err
	}
	word, _ := replies[0].(string)
	return word, nil
}

// renew keeps the flag alive.
func (s *suspended) renew(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now().Before(s.next) {
		return nil
	}
	for _, db := range s.dbs {
		if _, err := s.flag(ctx, db, SuspendLife); err != nil {
			return err
		}
	}
	s.next = s.now().Add(SuspendLife / 4)
	return nil
}

func (s *suspended) lift(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for _, db := range s.dbs {
		if _, err := s.flag(ctx, db, 0); err != nil {
			return fmt.Errorf("lift the workers' suspension, which ends by itself in %s: %w", SuspendLife, err)
		}
	}
	return nil
}

func (s *suspended) Run(ctx context.Context, db int, script Script, calls []Call) ([]any, error) {
	if err := s.renew(ctx); err != nil {
		return nil, err
	}
	return s.Redis.Run(ctx, db, script, calls)
}

func (s *suspended) Pipeline(ctx context.Context, db int, commands [][]any) ([]any, error) {
	if err := s.renew(ctx); err != nil {
		return nil, err
	}
	return s.Redis.Pipeline(ctx, db, commands)
}
