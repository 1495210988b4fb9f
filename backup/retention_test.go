package backup_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"rqvault/backup"
	"rqvault/internal/snapshot"
)

var update = flag.Bool("update", false, "rewrite testdata")

// at parses a time of the golden tables.
func at(t testing.TB, text string) time.Time {
	t.Helper()
	v, err := time.Parse("2006-01-02T15:04", text)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func stored(created time.Time, n int) backup.Snapshot {
	return backup.Snapshot{ID: snapshot.ID(fmt.Sprintf("%s-%08x", created.UTC().Format("20060102T150405.000Z"), n)), CreatedAt: created, Atomic: true}
}

// TestRetentionTable is testdata/retention.txt: each block is a policy and snapshots with
// their marks, and what became of each. -update writes the outcome anew.
func TestRetentionTable(t *testing.T) {
	path := filepath.Join("testdata", "retention.txt")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	now := at(t, "2026-11-23T12:00")
	var got strings.Builder
	for i, block := range strings.Split(strings.TrimSpace(string(b)), "\n\n") {
		if i > 0 {
			got.WriteString("\n")
		}
		tableBlock(t, &got, block, now)
	}
	if *update {
		if err := os.WriteFile(path, []byte(got.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got.String() != string(b) {
		t.Errorf("got\n%s\nwant\n%s", got.String(), b)
	}
}

func tableBlock(t *testing.T, out *strings.Builder, block string, now time.Time) {
	t.Helper()
	var keep backup.Keep
	var all []backup.Snapshot
	marks := map[snapshot.ID]string{}
	for _, line := range strings.Split(block, "\n") {
		if strings.HasPrefix(line, "#") {
			fmt.Fprintln(out, line)
			continue
		}
		if rest, ok := strings.CutPrefix(line, "keep "); ok {
			fmt.Fprintln(out, line)
			keep = policy(t, rest)
			continue
		}
		line, _, _ = strings.Cut(line, ":  ")
		words := strings.Fields(line)
		s := stored(at(t, words[0]), len(all))
		for _, w := range words[1:] {
			mark(t, &s, w)
		}
		marks[s.ID] = line
		all = append(all, s)
	}
	for _, c := range backup.Choose(keep, all, now) {
		what := "remove"
		if c.Keep {
			what = "keep"
		}
		fmt.Fprintf(out, "%s:  %s, %s\n", marks[c.ID], what, strings.Join(c.Reasons, ", "))
	}
}

func mark(t testing.TB, s *backup.Snapshot, word string) {
	t.Helper()
	switch word {
	case "verified":
		s.Verified = true
	case "damaged":
		s.Damaged = true
	case "scan":
		s.Atomic = false
	case "pinned":
		s.Pinned = true
	case "held":
		s.Held = "kept by lock"
	default:
		t.Fatalf("what is %q?", word)
	}
}

func policy(t testing.TB, text string) backup.Keep {
	t.Helper()
	var k backup.Keep
	for _, part := range strings.Fields(text) {
		name, value, _ := strings.Cut(part, "=")
		var err error
		switch name {
		case "everything":
		case "zone":
			k.Zone, err = time.LoadLocation(value)
		case "within":
			k.Within, err = time.ParseDuration(value)
		default:
			f := reflect.ValueOf(&k).Elem().FieldByName(strings.ToUpper(name[:1]) + name[1:])
			var n int
			_, err = fmt.Sscan(value, &n)
			f.SetInt(int64(n))
		}
		if err != nil {
			t.Fatalf("%s: %v", part, err)
		}
	}
	return k
}

// random makes a policy and snapshots of the last two years, some of them marked.
func random(r *rand.Rand, now time.Time) (backup.Keep, []backup.Snapshot) {
	few := func(n int) int { return max(0, r.IntN(2*n)-n) }
	k := backup.Keep{Last: few(5), Hourly: few(30), Daily: few(10), Weekly: few(6), Monthly: few(8), Yearly: few(3), Within: time.Duration(few(72)) * time.Hour}
	var all []backup.Snapshot
	for i := range r.IntN(60) {
		s := stored(now.Add(-time.Duration(r.Int64N(int64(100*time.Hour)<<r.IntN(8)))).Truncate(time.Minute), i)
		if r.IntN(20) == 0 {
			s = stored(now.Add(time.Duration(1+r.Int64N(int64(time.Hour)))), i)
		}
		s.Verified, s.Damaged, s.Atomic = r.IntN(3) > 0, r.IntN(8) == 0, r.IntN(4) > 0
		s.Pinned = r.IntN(15) == 0
		all = append(all, s)
	}
	return k, all
}

func kept(choices []backup.Choice) map[snapshot.ID]bool {
	ids := map[snapshot.ID]bool{}
	for _, c := range choices {
		if c.Keep {
			ids[c.ID] = true
		}
	}
	return ids
}

// TestLawsOfRetention holds many random policies and stores against what retention
// promises whatever the policy is.
func TestLawsOfRetention(t *testing.T) {
	now := at(t, "2026-11-23T12:00")
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 1))
		k, all := random(r, now)
		choices := backup.Choose(k, all, now)
		keep := kept(choices)
		fail := func(format string, args ...any) {
			t.Errorf("seed %d, %s, %d snapshots: %s", seed, k, len(all), fmt.Sprintf(format, args...))
		}
		if len(choices) != len(all) || !slices.IsSortedFunc(choices, func(a, b backup.Choice) int { return strings.Compare(string(a.ID), string(b.ID)) }) {
			fail("%d choices, or out of order", len(choices))
		}
		lawsOfOne(k, all, keep, now, fail)
		shuffled := slices.Clone(all)
		r.Shuffle(len(all), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		if !reflect.DeepEqual(backup.Choose(k, shuffled, now), choices) {
			fail("the order in which they come counts")
		}
		// What stays stays: a second run right after removes nothing.
		left := slices.DeleteFunc(slices.Clone(all), func(s backup.Snapshot) bool { return !keep[s.ID] })
		if again := kept(backup.Choose(k, left, now)); len(again) != len(left) {
			fail("a second run removes %d of %d", len(left)-len(again), len(left))
		}
		// More is never less.
		more := k
		more.Daily, more.Within = k.Daily+3, k.Within+24*time.Hour
		if larger := kept(backup.Choose(more, all, now)); !k.Empty() {
			for id := range keep {
				if !larger[id] && !isOldest(choices, id) {
					fail("%s goes when more is kept", id)
				}
			}
		}
		if t.Failed() {
			return
		}
	}
}

// isOldest reports whether a snapshot is there only for a count that was not used up.
func isOldest(choices []backup.Choice, id snapshot.ID) bool {
	i := slices.IndexFunc(choices, func(c backup.Choice) bool { return c.ID == id })
	return slices.ContainsFunc(choices[i].Reasons, func(r string) bool { return strings.HasSuffix(r, ", oldest") })
}

func lawsOfOne(k backup.Keep, all []backup.Snapshot, keep map[snapshot.ID]bool, now time.Time, fail func(string, ...any)) {
	var newest, proven backup.Snapshot
	whole := 0
	for _, s := range all {
		past := !s.CreatedAt.After(now)
		if s.CreatedAt.Compare(newest.CreatedAt) > 0 && past {
			newest = s
		}
		if s.Verified && !s.Damaged && s.CreatedAt.After(proven.CreatedAt) && past {
			proven = s
		}
		if (!past || s.Pinned || k.Empty()) && !keep[s.ID] {
			fail("%s %+v must stay", s.ID, s)
		}
		if keep[s.ID] && past && !s.Damaged {
			whole++
		}
	}
	for _, s := range []backup.Snapshot{newest, proven} {
		same := func(o backup.Snapshot) bool { return o.CreatedAt.Equal(s.CreatedAt) && keep[o.ID] }
		if s.ID != "" && !slices.ContainsFunc(all, same) {
			fail("the newest, or the newest verified, %s goes", s.ID)
		}
	}
	undamaged := 0
	for _, s := range all {
		if !s.Damaged && !s.CreatedAt.After(now) {
			undamaged++
		}
	}
	if whole < min(k.Last, undamaged) {
		fail("%d undamaged are left of %d, with last %d", whole, undamaged, k.Last)
	}
}
