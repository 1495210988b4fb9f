package ledger_test

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"rqvault/internal/redistest"
)

// state is what a Redis holds of jobs, read by its own words and not by rqvault's.
type state struct {
	jobs  map[string]jobState
	lists map[string][]string           // ids by queue, head first
	zsets map[string]map[string]float64 // ids by key, without its rq:
	ended map[string]bool               // by its hash, a registry or its results
}

type jobState struct {
	status   string
	expireAt int64 // Unix ms; 0 for never
}

// read looks at every key. Keys may go while it does.
func read(t testing.TB, server *redistest.Server) *state {
	t.Helper()
	s, err := readAll(context.Background(), server.Client())
	if err != nil {
		t.Fatalf("read the jobs: %v", err)
	}
	return s
}

func readAll(ctx context.Context, c *redis.Client) (*state, error) {
	s := &state{jobs: map[string]jobState{}, lists: map[string][]string{}, zsets: map[string]map[string]float64{}, ended: map[string]bool{}}
	keys, err := c.Keys(ctx, "rq:*").Result()
	if err != nil {
		return nil, err
	}
	slices.Sort(keys)
	for _, key := range keys {
		name := strings.TrimPrefix(key, "rq:")
		kind, rest, _ := strings.Cut(name, ":")
		switch kind {
		case "queue":
			s.lists[rest], err = c.LRange(ctx, key, 0, -1).Result()
		case "finished", "failed", "canceled", "scheduled", "deferred", "wip":
			err = s.registry(ctx, c, key, name)
		case "results":
			err = s.result(ctx, c, key, rest)
		case "job":
			if !strings.Contains(rest, ":") {
				err = s.job(ctx, c, key, rest)
			}
		}
		if err != nil && err != redis.Nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *state) registry(ctx context.Context, c *redis.Client, key, name string) error {
	members, err := c.ZRangeWithScores(ctx, key, 0, -1).Result()
	s.zsets[name] = map[string]float64{}
	kind, _, _ := strings.Cut(name, ":")
	for _, m := range members {
		id := m.Member.(string)
		s.zsets[name][id] = m.Score
		if kind == "finished" || kind == "failed" || kind == "canceled" {
			s.ended[id] = true
		}
	}
	return err
}

func (s *state) result(ctx context.Context, c *redis.Client, key, id string) error {
	n, err := c.XLen(ctx, key).Result()
	if n > 0 {
		s.ended[id] = true // RQ 1.13 writes none before the last retry
	}
	return err
}

func (s *state) job(ctx context.Context, c *redis.Client, key, id string) error {
	pipe := c.Pipeline()
	fields := pipe.HMGet(ctx, key, "status", "data")
	expire := pipe.Do(ctx, "PEXPIRETIME", key)
	if _, err := pipe.Exec(ctx); err != nil {
		return err
	}
	v := fields.Val()
	if v[1] == nil {
		return nil
	}
	j := jobState{}
	j.status, _ = v[0].(string)
	if ms, _ := expire.Int64(); ms > 0 {
		j.expireAt = ms
	}
	s.jobs[id] = j
	if slices.Contains([]string{"finished", "failed", "stopped", "canceled"}, j.status) {
		s.ended[id] = true
	}
	return nil
}

// waiting returns how many ids a worker or the scheduler has still to take up.
func (s *state) waiting() (n int) {
	for _, ids := range s.lists {
		n += len(ids)
	}
	for key, ids := range s.zsets {
		if strings.HasPrefix(key, "scheduled:") {
			for id := range ids {
				if _, ok := s.jobs[id]; ok { // RQ leaves an id without a job where it is
					n++
				}
			}
		}
	}
	return n
}

// in reports whether a registry of that kind lists the job.
func (s *state) in(kind, id string) bool {
	for key := range maps.Keys(s.zsets) {
		if _, ok := s.zsets[key][id]; ok && strings.HasPrefix(key, kind+":") {
			return true
		}
	}
	return false
}
