package rq

import (
	"testing"
	"time"
)

// Every day that RQ can write in the plain form counts as the library counts it.
func TestPlainTimeAgreesWithTheLibrary(t *testing.T) {
	for at := time.Date(1, 1, 1, 23, 59, 58, 999999000, time.UTC); at.Year() < 10000; at = at.AddDate(0, 0, 1) {
		text := FormatTime(at)
		got, ok := plainTime([]byte(text))
		if want := at.Day() <= 28; ok != want || ok && got != at.UnixMicro() {
			t.Fatalf("%s: got %d, %v, want %d, %v", text, got, ok, at.UnixMicro(), want)
		}
	}
}
