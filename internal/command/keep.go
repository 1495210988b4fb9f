package command

import (
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"rqvault/backup"
)

// keepFlags are the retention policy.
func keepFlags() []cli.Flag {
	count := func(name, usage string) cli.Flag {
		return &cli.IntFlag{Name: "keep-" + name, Usage: "keep " + usage, EnvVars: []string{"RQVAULT_KEEP_" + strings.ToUpper(name)}}
	}
	return []cli.Flag{
		count("last", "the `N` newest snapshots"),
		count("hourly", "one for each of the `N` newest hours that have any"),
		count("daily", "one for each of the `N` newest days that have any"),
		count("weekly", "one for each of the `N` newest weeks that have any"),
		count("monthly", "one for each of the `N` newest months that have any"),
		count("yearly", "one for each of the `N` newest years that have any"),
		&cli.DurationFlag{Name: "keep-within", Usage: "keep all that are at most so much older than the newest, such as 48h", EnvVars: []string{"RQVAULT_KEEP_WITHIN"}},
		&cli.StringFlag{Name: "keep-zone", Usage: "time zone in which days begin, such as Europe/Berlin", Value: "UTC", EnvVars: []string{"RQVAULT_KEEP_ZONE"}},
	}
}

// keep reads the policy from the command line.
func keep(c *cli.Context) (backup.Keep, error) {
	zone, err := time.LoadLocation(c.String("keep-zone"))
	if err != nil {
		return backup.Keep{}, usage("--keep-zone: there is no time zone %q here: use a name such as Europe/Berlin", c.String("keep-zone"))
	}
	return backup.Keep{
		Last: c.Int("keep-last"), Hourly: c.Int("keep-hourly"), Daily: c.Int("keep-daily"), Weekly: c.Int("keep-weekly"),
		Monthly: c.Int("keep-monthly"), Yearly: c.Int("keep-yearly"), Within: c.Duration("keep-within"), Zone: zone,
	}, nil
}

// retained is one element of "snapshots" in prune --json.
type retained struct {
	backup.Choice
	CreatedAt time.Time  `json:"created_at"`
	Size      int64      `json:"stored_size"`
	Pinned    bool       `json:"pinned"`
	Removed   bool       `json:"removed"`
	LockedTo  *time.Time `json:"locked_until,omitempty"`
	locked    bool
}

func retainedOut(r *backup.Retention) []retained {
	out := []retained{}
	for _, s := range r.Snapshots {
		one := retained{Choice: s.Choice, CreatedAt: s.CreatedAt.UTC(), Size: s.Size, Pinned: s.Pin != nil, Removed: s.Removed}
		if s.Locked != nil {
			one.locked = true
			one.Reasons = []string{s.Locked.String()}
			if !s.Locked.Until.IsZero() {
				one.LockedTo = &s.Locked.Until
			}
		}
		out = append(out, one)
	}
	return out
}

func (e *env) printRetention(r *backup.Retention) {
	t := newTable(e.out, "SNAPSHOT", "AGE", "STORED", "", "WHY")
	for _, s := range retainedOut(r) {
		what := "remove"
		switch {
		case s.Removed:
			what = "removed"
		case s.Keep:
			what = "keep"
		case s.locked:
			what = "locked"
		}
		t.row(s.ID, age(e.now().Sub(s.CreatedAt)), size(s.Size), what, strings.Join(s.Reasons, ", "))
	}
	_ = t.flush()
}

// summary says how many snapshots go or went, and what that frees.
func summary(r *backup.Retention, applied bool) string {
	var n, bytes int64
	for _, s := range r.Going() {
		if s.Removed || !applied {
			n++
			bytes += s.Size
		}
	}
	if applied {
		return fmt.Sprintf("removed %s, %s", plural(n, "snapshot"), size(bytes))
	}
	return fmt.Sprintf("%s to remove, %s", plural(n, "snapshot"), size(bytes))
}
