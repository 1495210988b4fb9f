package rq

import (
	"bytes"
	"math"
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
	if len(b) != len("2006-01-02T15:04:05.000000Z") ||
		b[4] != '-' || b[7] != '-' || b[10] != 'T' || b[13] != ':' || b[16] != ':' || b[19] != '.' || b[26] != 'Z' {
		return 0, false
	}
	year, month, day := two(b, 0)*100+two(b, 2), two(b, 5), two(b, 8)
	hour, minute, second := two(b, 11), two(b, 14), two(b, 17)
	micro := (two(b, 20)*100+two(b, 22))*100 + two(b, 24)
	if year < 1 || month < 1 || month > 12 || day < 1 || day > 28 || hour < 0 || hour > 23 || minute < 0 || minute > 59 ||
		second < 0 || second > 59 || micro < 0 {
		return 0, false // the end of a month, among others, is left to the library
	}
	return (((days(year, month, day)*24+hour)*60+minute)*60+second)*1e6 + micro, true
}

// two reads two digits; what is none makes any sum with it negative.
func two(b []byte, i int) int64 {
	tens, ones := b[i]-'0', b[i+1]-'0'
	if tens > 9 || ones > 9 {
		return math.MinInt32
	}
	return int64(tens)*10 + int64(ones)
}

// days counts from the first day of 1970 to one in the Gregorian calendar. The year is
// taken to begin in March, so that the odd day of a leap year is its last.
func days(year, month, day int64) int64 {
	if month <= 2 {
		year, month = year-1, month+12
	}
	const to1970 = 719468 // from the first of March of the year 0
	return 365*year + year/4 - year/100 + year/400 + (153*(month-3)+2)/5 + day - 1 - to1970
}

// FormatTime writes an instant as RQ does: always six decimals.
func FormatTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }
