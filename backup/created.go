package backup

import (
	"strconv"
	"time"

	"rqvault/internal/rdb"
)

// createdAt is the instant the dump stands for. A dump made in one piece says itself
// when the server forked, in whole seconds; the opener's own reading is finer, so it
// wins where the two agree.
func createdAt(d *Dump, sum *rdb.Summary) time.Time {
	forked, err := strconv.ParseInt(sum.Aux["ctime"], 10, 64)
	at := d.At.UTC()
	if err != nil || !d.Atomic {
		return at
	}
	if t := time.Unix(forked, 0).UTC(); at.IsZero() || at.Before(t) || at.Sub(t) >= 2*time.Second {
		return t
	}
	return at
}
