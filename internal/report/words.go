package report

import (
	"fmt"
	"html/template"
	"strings"
	"time"

	"rqvault/internal/lineage"
	"rqvault/verify"
)

// words are what the templates call.
var words = template.FuncMap{
	"name":   legible,
	"number": number[int],
	"long":   number[int64],
	"stamp":  stamp,
	"tone":   func(v verify.Verdict) string { return "v-" + strings.ReplaceAll(string(v), "_", "-") },
	"plain":  func(v verify.Verdict) string { return strings.ReplaceAll(string(v), "_", " ") },
	"first":  func(names []string) []string { return names[:min(len(names), maxNames)] },
	"more":   func(c Choice) int { return c.Count - min(len(c.Names), maxNames) },
	"held":   func(j Job) bool { return j.held() },
	"inc":    func(i int) int { return i + 1 },
}

// number writes a count with commas.
func number[T int | int64](n T) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// counted writes a count with its noun.
func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return number(n) + " " + noun + "s"
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// clock writes an instant, with its day unless that is the page's own.
func (d *Data) clock(t time.Time) string {
	t = t.UTC()
	if t.Format(time.DateOnly) == d.MadeAt.UTC().Format(time.DateOnly) {
		return t.Format("15:04:05 UTC")
	}
	return t.Format("15:04:05 UTC on 2 Jan")
}

// lasted writes a length of time in its two largest units.
func lasted(t time.Duration) string {
	if t = t.Round(time.Second); t == 0 {
		return "under 1 s"
	}
	days, hours := int(t.Hours())/24, int(t.Hours())%24
	minutes, seconds := int(t.Minutes())%60, int(t.Seconds())%60
	two := func(a int, unit string, b int, lesser string) string {
		if b == 0 {
			return fmt.Sprintf("%d %s", a, unit)
		}
		return fmt.Sprintf("%d %s %d %s", a, unit, b, lesser)
	}
	switch {
	case days > 0:
		return two(days, "d", hours, "h")
	case hours > 0:
		return two(hours, "h", minutes, "min")
	case minutes > 0:
		return two(minutes, "min", seconds, "s")
	}
	return fmt.Sprintf("%d s", seconds)
}

// tally is what the headline counts.
type tally struct{ known, lost, back, repaired, held, failed, skipped, missed int }

// result is what became of a job or, where nothing was tried, what would.
func (d *Data) result(j *Job) string {
	if j.Result != "" || d.Kind == Applied {
		return j.Result
	}
	return planned(j.Action)
}

func (d *Data) tally() tally {
	var t tally
	for v, n := range d.Counts {
		if v != verify.New {
			t.known += n
		}
	}
	for i := range d.Jobs {
		j := &d.Jobs[i]
		lost := j.Verdict == verify.Lost || j.Action.Puts() && j.Verdict != verify.Misplaced && j.Verdict != verify.Regressed
		if lost {
			t.lost++
		}
		switch d.result(j) {
		case "restored", "repaired":
			if lost {
				t.back++
			} else {
				t.repaired++
			}
		case "held":
			t.held++
		case "failed":
			t.failed++
		case "skipped", "refused":
			t.skipped++
		case "":
			if planned(j.Action) != "" { // the restore stopped before it
				t.missed++
			}
		}
	}
	return t
}

// planned is the result that an action has if all goes well.
func planned(a verify.Action) string {
	switch {
	case a.Puts():
		return "restored"
	case a == verify.Place || a == verify.Forward || a == verify.Start:
		return "repaired"
	case a == verify.Hold:
		return "held"
	}
	return ""
}

func (d *Data) noun() string {
	if d.Keys {
		return "key"
	}
	return "job"
}

// headline says it all, for who reads nothing else.
func (d *Data) headline() []string {
	if d.Drill != nil {
		return []string{d.drillHeadline()}
	}
	out := []string{d.happened()}
	t := d.tally()
	acted := d.Kind == Applied
	is, are := "is", "are"
	if acted {
		is, are = "was", "were"
	}
	switch {
	case t.lost+t.repaired+t.held+t.failed+t.skipped+t.missed == 0:
		return append(out, fmt.Sprintf("Nothing is missing of %s.", counted(t.known, d.noun())))
	case t.lost == 0:
		out = append(out, fmt.Sprintf("None of %s %s lost%s.", counted(t.known, d.noun()), is, d.rest(t)))
	default:
		verb := are
		if t.lost == 1 {
			verb = is
		}
		out = append(out, fmt.Sprintf("%s of %s %s lost%s.", number(t.lost), counted(t.known, d.noun()), verb, d.rest(t)))
	}
	if !acted {
		out = append(out, "Nothing has been changed yet.")
	}
	return out
}

// rest goes on from how many were lost.
func (d *Data) rest(t tally) string {
	var parts []string
	add := func(n int, one, many string) {
		switch {
		case n == 1:
			parts = append(parts, "1 "+one)
		case n > 1:
			parts = append(parts, number(n)+" "+many)
		}
	}
	if d.Kind == Applied {
		switch {
		case t.lost > 1 && t.back == t.lost:
			parts = append(parts, "all "+number(t.lost)+" are back")
		case t.lost == 1 && t.back == 1:
			parts = append(parts, "it is back")
		case t.lost > 0 && t.back == 0:
			parts = append(parts, "none is back")
		default:
			add(t.back, "is back", "are back")
		}
		add(t.repaired, "was repaired", "were repaired")
		add(t.skipped, "was left as it is", "were left as they are")
		add(t.failed, "could not be written", "could not be written")
		add(t.missed, "was not reached", "were not reached")
	} else {
		switch {
		case t.lost > 1 && t.back == t.lost:
			parts = append(parts, "all can be put back")
		default:
			add(t.back, "can be put back", "can be put back")
		}
		add(t.repaired, "can be repaired", "can be repaired")
	}
	add(t.held, "waits for your decision", "wait for your decision")
	if len(parts) == 0 {
		return ""
	}
	return "; " + strings.Join(parts, ", ")
}

// happened says in one sentence what became of Redis.
func (d *Data) happened() string {
	j, taken := d.Lineage, d.clock(d.Snapshot.Taken)
	at := ""
	if !j.StartedAt.IsZero() {
		at = " at " + d.clock(j.StartedAt)
	}
	switch {
	case j.Mode == lineage.Complete:
		return "Redis holds everything up to the snapshot of " + taken + "."
	case j.Mode == lineage.Older && j.Empty:
		return "Redis came back empty" + at + "."
	case j.Mode == lineage.Older && !j.LoadedUntil.IsZero():
		return "Redis came back" + at + " with data from " + d.clock(j.LoadedUntil) + "."
	case j.Mode == lineage.Older:
		return "Redis came back" + at + " without its newest data."
	case j.Unsure:
		return "Nothing tells whether this Redis ever had the data of the snapshot of " + taken + "."
	case j.Flushed:
		return "Redis was emptied, or its data replaced, after the snapshot of " + taken + "."
	}
	return "Redis lost keys after the snapshot of " + taken + "."
}

func (d *Data) drillHeadline() string {
	taken := d.clock(d.Snapshot.Taken)
	held := fmt.Sprintf("%s and %s", counted(int(d.Drill.Jobs), "job"), counted(int(d.Drill.Keys), "key"))
	switch n := d.Drill.Different; {
	case n == 1:
		return fmt.Sprintf("The snapshot of %s does not come back as it was: of %s, 1 differs.", taken, held)
	case n > 1:
		return fmt.Sprintf("The snapshot of %s does not come back as it was: of %s, %s differ.", taken, held, number(n))
	}
	return fmt.Sprintf("The snapshot of %s can be restored in %s: %s came back, and nothing differs.", taken, seconds(d.Drill.Recovery), held)
}

// seconds writes a short time as it was measured, a long one in words.
func seconds(s float64) string {
	if s < 1 {
		return fmt.Sprintf("%.3f s", s)
	}
	if s < 60 {
		return fmt.Sprintf("%.1f s", s)
	}
	return lasted(time.Duration(s * float64(time.Second)))
}
