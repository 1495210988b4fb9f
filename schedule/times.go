package schedule

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// Times are the instants at which something is to be done. They depend on nothing but the
// clock, so that every replica names the same ones.
type Times interface {
	// Next is the first of them after an instant; the zero time if there is none.
	Next(after time.Time) time.Time
}

// Parse reads a cron expression of five fields, or six that begin with seconds; or @yearly,
// @monthly, @weekly, @daily, @hourly; or @every and a duration of whole seconds. Fields are
// read in the zone, where a time that the change to summer time skips is left out, and one
// that the change back brings twice is there twice.
func Parse(spec string, zone *time.Location) (Times, error) {
	if every, ok := strings.CutPrefix(spec, "@every "); ok {
		d, err := time.ParseDuration(strings.TrimSpace(every))
		if err != nil || d < time.Second || d%time.Second != 0 {
			return nil, fmt.Errorf("%q: @every takes a duration of whole seconds, such as @every 5m", spec)
		}
		return interval(d), nil
	}
	if strings.HasPrefix(spec, "TZ=") || strings.HasPrefix(spec, "CRON_TZ=") {
		return nil, fmt.Errorf("%q: the time zone has a key of its own", spec)
	}
	p := cron.NewParser(cron.SecondOptional | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)
	s, err := p.Parse(spec)
	if err != nil {
		return nil, fmt.Errorf("%q is no cron expression: %w", spec, err)
	}
	t := zoned{s, zone}
	if t.Next(time.Unix(0, 0)).IsZero() {
		return nil, fmt.Errorf("%q names no time that ever comes", spec)
	}
	return t, nil
}

// interval is every so often, counted from the Unix epoch.
type interval time.Duration

func (i interval) Next(after time.Time) time.Time {
	d := int64(time.Duration(i) / time.Second)
	return time.Unix((after.Unix()/d+1)*d, 0).UTC()
}

// zoned is a cron expression in a time zone.
type zoned struct {
	s    cron.Schedule
	zone *time.Location
}

func (z zoned) Next(after time.Time) time.Time {
	next := z.s.Next(after.In(z.zone))
	if next.IsZero() {
		return next
	}
	return next.UTC()
}

// horizons are how far back due looks for times that were missed, one after another: what
// is done every second is not counted over a year.
var horizons = []time.Duration{time.Hour, 2 * 24 * time.Hour, 40 * 24 * time.Hour, 5 * 366 * 24 * time.Hour}

// Due returns the newest of the times after last that has come by now, zero if none has,
// and how many there were since last, at most those of the last hour where that is enough.
// Where last is zero nothing was ever done, and the newest time that has passed is due.
func Due(t Times, last, now time.Time) (slot time.Time, missed int) {
	for _, h := range horizons {
		from := now.Add(-h)
		if last.After(from) {
			from = last
		}
		for next := t.Next(from); !next.IsZero() && !next.After(now); next = t.Next(next) {
			slot = next
			missed++
		}
		if !slot.IsZero() || from.Equal(last) {
			return slot, missed
		}
	}
	return time.Time{}, 0
}

// lookAhead is how many of the next times are looked at for what lies between them.
const lookAhead = 64

// Between returns the shortest and the longest time between two of the next times; the
// longest there is where there are no two.
func Between(t Times, from time.Time) (shortest, longest time.Duration) {
	shortest, longest = math.MaxInt64, math.MaxInt64
	at := t.Next(from)
	for i := range lookAhead {
		next := t.Next(at)
		if next.IsZero() {
			break
		}
		d := next.Sub(at)
		if i == 0 {
			longest = d
		}
		shortest, longest, at = min(shortest, d), max(longest, d), next
	}
	return shortest, longest
}
