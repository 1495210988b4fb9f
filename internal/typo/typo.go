// Package typo guesses which word was meant.
package typo

import "github.com/xrash/smetrics"

// Nearest returns the name that is at most two slips of the finger from word, "" if none
// is.
func Nearest(word string, names []string) string {
	best, found := 3, ""
	for _, n := range names {
		if d := smetrics.WagnerFischer(word, n, 1, 1, 1); d < best && d < len(n) {
			best, found = d, n
		}
	}
	return found
}
