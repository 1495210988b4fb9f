package restore

import (
	"context"
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

//go:embed settle.lua
var settleLua string

var settleScript = Script{settleLua}

// SettledKey is the hash in which restores note the jobs that need nothing, as fingerprints
// of 8 bytes (verify.Settled). Its fields are "ms:n": when, and which part of them. Like the
// ledger it lives beside the data it speaks of, and as long.
const SettledKey = "rqvault:settled"

// settledPart is how many bytes of fingerprints one field holds.
const settledPart = 64 << 10

// SettledSince reports whether a field of SettledKey was written after that instant: what
// was settled before it says nothing of jobs that were there at it.
func SettledSince(field string, since time.Time) bool {
	at, _, _ := strings.Cut(field, ":")
	ms, err := strconv.ParseInt(at, 10, 64)
	return err == nil && ms >= since.UnixMilli()
}

// settle notes the jobs about which the plan has nothing to do. It comes first: how far the
// restore then gets changes nothing about them.
func settle(ctx context.Context, p *Plan, o Options) error {
	now := o.Now().UnixMilli()
	for _, db := range slices.Sorted(maps.Keys(p.Settled)) {
		var calls []Call
		for part := range slices.Chunk(p.Settled[db], settledPart) {
			calls = append(calls, Call{Keys: []string{SettledKey}, Args: []any{
				fmt.Sprintf("%d:%d", now, len(calls)), part, int64(LedgerLife / time.Second), now - LedgerLife.Milliseconds()}})
		}
		replies, err := o.Redis.Run(ctx, int(db), settleScript, calls)
		for i := 0; err == nil && i < len(replies); i++ {
			err, _ = replies[i].(error)
		}
		if err != nil {
			return fmt.Errorf("note the jobs that need nothing: %w", err)
		}
	}
	return nil
}
