package doctor

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

func plural[N int | int64](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// were is a count with its noun and the verb.
func were(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun + " was"
	}
	return plural(n, noun) + " were"
}

// bytes writes a size as people read it.
func bytes(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	v, i := float64(n)/unit, 0
	for v >= unit && i < 3 {
		v /= unit
		i++
	}
	return fmt.Sprintf("%.1f %s", v, [...]string{"KiB", "MiB", "GiB", "TiB"}[i])
}

// span writes how long something is, in one unit.
func span(d time.Duration) string {
	switch {
	case d < 0:
		return "less than no time"
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d d", int(d.Hours()/24))
}

// short writes a time that is measured in milliseconds.
func short(d time.Duration) string { return fmt.Sprintf("%.1f ms", ms(d)) }

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// listed is how many names one sentence takes.
const listed = 5

// names joins names, the first few.
func names(all []string) string {
	if len(all) > listed {
		return strings.Join(all[:listed], ", ") + fmt.Sprintf(" and %d more", len(all)-listed)
	}
	return strings.Join(all, ", ")
}

// tally lists names with their counts, the most frequent first.
func tally(counts map[string]int) string {
	order := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	var parts []string
	for _, name := range order {
		parts = append(parts, fmt.Sprintf("%s %d×", name, counts[name]))
	}
	return names(parts)
}
