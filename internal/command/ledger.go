package command

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"rqvault/restore"
	"rqvault/verify"
)

// Restored reads what restores signed for since the snapshot: true where nothing is left
// to do, false where a restore was stopped in the middle of a job.
func (r *liveRedis) Restored(ctx context.Context) (map[verify.JobKey]bool, error) {
	done := map[verify.JobKey]bool{}
	err := r.fields(ctx, restore.LedgerKey, 1000, func(db int32, name, value string) error {
		if id, ok := strings.CutPrefix(name, restore.JobEntry("")); ok && restore.Signed(value, r.since) {
			done[verify.JobKey{DB: db, ID: id}] = restore.Settled(value)
		}
		return nil
	})
	r.signed = done
	return done, err
}

// Settled reads which jobs restores since the snapshot had nothing to do about.
func (r *liveRedis) Settled(ctx context.Context) (*verify.Settled, error) {
	r.settled = &verify.Settled{}
	err := r.fields(ctx, restore.SettledKey, 100, func(db int32, name, value string) error {
		if !restore.SettledSince(name, r.since) {
			return nil
		}
		return r.settled.Load(db, []byte(value))
	})
	return r.settled, err
}

// fields goes through a hash of rqvault's own in each database that the snapshot has, about
// count fields a call.
func (r *liveRedis) fields(ctx context.Context, key string, count int, each func(db int32, name, value string) error) error {
	for _, db := range r.dbs {
		cursor := "0"
		for {
			replies, err := r.s.Pipeline(ctx, db, [][]any{{"HSCAN", key, cursor, "COUNT", count}})
			if err == nil {
				err, _ = replies[0].(error)
			}
			if err != nil {
				return fmt.Errorf("read the ledger (%s): %w", key, err)
			}
			next, entries, ok := scanPage(replies[0])
			if !ok {
				return errors.New("read the ledger: HSCAN answered in an unknown form")
			}
			for i := 0; i+1 < len(entries); i += 2 {
				if err := each(int32(db), entries[i], entries[i+1]); err != nil {
					return fmt.Errorf("read the ledger (%s): %w", key, err)
				}
			}
			if cursor = next; cursor == "0" {
				break
			}
		}
	}
	return nil
}

func scanPage(reply any) (cursor string, entries []string, ok bool) {
	list, ok := reply.([]any)
	if !ok || len(list) != 2 {
		return "", nil, false
	}
	cursor, ok = list[0].(string)
	items, ok2 := list[1].([]any)
	for _, it := range items {
		s, _ := it.(string)
		entries = append(entries, s)
	}
	return cursor, entries, ok && ok2
}
