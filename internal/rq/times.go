package rq

import (
	"bytes"
	"time"
)

// timeLayout is how RQ writes instants: UTC with six decimals. A text without
// decimals is read too, and nothing else, as RQ's own utcparse does.
const timeLayout = "2006-01-02T15:04:05.999999Z"

// ParseTime reads an instant as RQ writes it, in Unix microseconds. An empty text is
// "not yet": 0, true. Go takes a comma and any number of decimals where Python, and so
// the worker, takes a point and six.
func ParseTime(b []byte) (int64, bool) {
	if len(b) == 0 {
		return 0, true
	}
	if us, ok := plainTime(b); ok {
		return us, true
	}
	t, err := time.Parse(timeLayout, string(b))
	if err != nil || t.Year() < 1 || bytes.IndexByte(b, ',') >= 0 {
		return 0, false
	}
	if dot := bytes.IndexByte(b, '.'); dot >= 0 && len(b)-dot > len(".000000Z") {
		return 0, false
	}
	return t.UnixMicro(), true
}

// plainTime reads the form in which RQ writes nearly every instant, in Unix microseconds.
func plainTime(b []byte) (us int64, ok bool) {
	const form = "2006-01-02T15:04:05.000000Z"
	if len(b) != len(form) {
		return 0, false
	}
	var n [7]int
	field := 0
	for i := range len(form) {
		digit := b[i] - '0'
		if form[i] >= '0' && form[i] <= '9' {
			if digit > 9 {
				return 0, false
			}
			n[field] = n[field]*10 + int(digit)
			continue
		}
		if b[i] != form[i] {
			return 0, false
		}
		field++
	}
	if n[0] < 1 || n[1] < 1 || n[1] > 12 || n[2] < 1 || n[2] > 28 || n[3] > 23 || n[4] > 59 || n[5] > 59 {
		return 0, false // the end of a month, among others, is left to the library
	}
	return time.Date(n[0], time.Month(n[1]), n[2], n[3], n[4], n[5], n[6]*1000, time.UTC).UnixMicro(), true
}

// FormatTime writes an instant as RQ does: always six decimals.
func FormatTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }
