package alarm

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// sorted orders alarms as they are kept and shown.
func sorted(alarms []Alarm) []Alarm {
	slices.SortStableFunc(alarms, byKey)
	return alarms
}

// counted writes a count with its noun.
func counted(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	if strings.HasSuffix(noun, "ch") {
		noun += "e"
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// lasted writes a length of time in its two largest units.
func lasted(d time.Duration) string {
	d = d.Round(time.Second)
	days, hours, minutes, seconds := int(d.Hours())/24, int(d.Hours())%24, int(d.Minutes())%60, int(d.Seconds())%60
	parts := []string{fmt.Sprintf("%d d", days), fmt.Sprintf("%d h", hours), fmt.Sprintf("%d min", minutes), fmt.Sprintf("%d s", seconds)}
	for i, n := range []int{days, hours, minutes, seconds} {
		if n == 0 {
			continue
		}
		end := min(i+2, len(parts))
		if end == i+2 && strings.HasPrefix(parts[i+1], "0 ") {
			end--
		}
		return strings.Join(parts[i:end], " ")
	}
	return "0 s"
}

// plain writes a reason such as store_unreachable for people.
func plain(reason string) string { return orUnknown(strings.ReplaceAll(reason, "_", " ")) }

func orUnknown(text string) string {
	if text == "" {
		return "the log says why"
	}
	return text
}

// quoted writes a source's name so that a shell takes it for one word.
func quoted(name string) string {
	odd := func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.", r)
	}
	if name != "" && !strings.ContainsFunc(name, odd) {
		return name
	}
	return "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
}
