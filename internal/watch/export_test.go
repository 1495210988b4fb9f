package watch

import "strings"

// Undescribed lists the metrics that a scrape does not show.
func Undescribed(text string) []string {
	var missing []string
	for _, f := range families {
		if !strings.Contains(text, "# TYPE "+f.name+" ") {
			missing = append(missing, f.name)
		}
	}
	return missing
}
