package schedule_test

import (
	"slices"
	"testing"
	"time"

	"rqvault/schedule"
)

func TestTimes(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		spec, after string
		want        []string
	}{
		{"@every 5m", "2026-11-23T10:02:03Z", []string{"2026-11-23T10:05:00Z", "2026-11-23T10:10:00Z"}},
		{"@every 5m", "2026-11-23T10:05:00Z", []string{"2026-11-23T10:10:00Z"}},
		{"@every 90s", "2026-11-23T00:00:00Z", []string{"2026-11-23T00:01:30Z", "2026-11-23T00:03:00Z"}},
		{"30 4 * * *", "2026-11-23T10:00:00Z", []string{"2026-11-24T03:30:00Z"}},
		{"15 30 4 * * *", "2026-11-23T10:00:00Z", []string{"2026-11-24T03:30:15Z"}},
		{"30 2 * * *", "2026-03-28T10:00:00Z", []string{"2026-03-30T00:30:00Z"}},                         // 29 March has no 02:30
		{"30 2 * * *", "2026-10-24T10:00:00Z", []string{"2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"}}, // 25 October has two
		{"@daily", "2026-11-23T10:00:00Z", []string{"2026-11-23T23:00:00Z"}},
	} {
		ts, err := schedule.Parse(c.spec, berlin)
		if err != nil {
			t.Errorf("%s: %v", c.spec, err)
			continue
		}
		at, _ := time.Parse(time.RFC3339, c.after)
		var got []string
		for range c.want {
			at = ts.Next(at)
			got = append(got, at.Format(time.RFC3339))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s after %s: got %v, want %v", c.spec, c.after, got, c.want)
		}
	}
}

func TestDue(t *testing.T) {
	now := time.Date(2026, 11, 23, 10, 2, 0, 0, time.UTC)
	at := func(s string) time.Time {
		v, err := time.Parse("2006-01-02 15:04", s)
		if err != nil {
			return time.Time{}
		}
		return v
	}
	for _, c := range []struct {
		spec, last, want string
		missed           int
	}{
		{"@every 5m", "2026-11-23 10:00", "", 0},
		{"@every 5m", "2026-11-23 09:55", "2026-11-23 10:00", 1},
		{"@every 5m", "2026-11-23 09:40", "2026-11-23 10:00", 4},
		{"@every 5m", "", "2026-11-23 10:00", 12},
		{"@every 1s", "2020-01-01 00:00", "2026-11-23 10:02", 3600},
		{"0 4 * * SUN", "2026-11-15 04:00", "2026-11-22 04:00", 1},
		{"0 4 * * SUN", "2026-11-22 04:00", "", 0},
		{"0 0 1 1 *", "2021-06-01 00:00", "2026-01-01 00:00", 5},
		{"0 0 1 1 *", "", "2026-01-01 00:00", 5},
		{"0 0 29 2 *", "", "2024-02-29 00:00", 1},
		{"@every 5m", "2026-11-23 11:00", "", 0}, // a clock was set back
	} {
		slot, missed := schedule.Due(times(t, c.spec), at(c.last), now)
		if !slot.Equal(at(c.want)) || missed != c.missed {
			t.Errorf("%s, last %q: %s, %d; want %q, %d", c.spec, c.last, slot, missed, c.want, c.missed)
		}
	}
}
