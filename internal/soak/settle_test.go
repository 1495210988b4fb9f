package soak_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"rqvault/internal/promtest"
)

func (s *soak) place(parts ...string) string {
	return s.s3.File(filepath.Join(append([]string{"vault"}, parts...)...))
}

// look notes the slots of the snapshots that are there: retention removes them.
func (s *soak) look() {
	for _, name := range sources {
		found, _ := os.ReadDir(s.place(name, "snapshots"))
		for _, e := range found {
			if _, known := s.slots[name][e.Name()]; known {
				continue
			}
			b, err := os.ReadFile(s.place(name, "snapshots", e.Name(), "manifest.json"))
			var m struct{ Slot string }
			if err == nil && json.Unmarshal(b, &m) == nil {
				s.slots[name][e.Name()] = m.Slot
			}
		}
	}
}

// run is one note of what was done.
type run struct {
	Slot, Began, Ended time.Time
	OK                 bool
	Missed, Tries      int
	Why                string
}

func (s *soak) runs(source, task string) []run {
	found, _ := os.ReadDir(s.place(source, "runs", task))
	var all []run
	for _, e := range found {
		b, err := os.ReadFile(s.place(source, "runs", task, e.Name()))
		var r run
		if err == nil && json.Unmarshal(b, &r) == nil {
			all = append(all, r)
		}
	}
	slices.SortFunc(all, func(a, b run) int { return a.Slot.Compare(b.Slot) })
	return all
}

// done counts a task's good runs.
func (s *soak) done(source, task string) int {
	n := 0
	for _, r := range s.runs(source, task) {
		if r.OK {
			n++
		}
	}
	return n
}

// wipe empties a Redis. People must hear of it, and the good snapshots must stay.
func (s *soak) wipe() {
	s.redis["two"].Do("FLUSHALL")
	s.await("the alarms of a wipe", time.Minute, func() bool { return s.told.heard("wipe-detected two") && s.told.heard("jobs-lost two") })
	s.await("comparison and plan", time.Minute, func() bool {
		found, _ := filepath.Glob(s.place("two", "incidents", "*", "plan.json"))
		return len(found) > 0
	})
}

// settle ends the daemons and checks the books.
func (s *soak) settle() {
	for _, d := range s.daemons {
		d.signal(15)
		<-d.ended
	}
	s.look()
	for _, name := range sources {
		s.slotsOnce(name)
		for _, task := range []string{"backup", "verify", "diff", "fsck", "prune", "drill"} {
			s.noOverlap(name, task)
		}
		s.covered(name)
	}
	s.retained()
	s.alarms()
	s.whole()
	s.told.mu.Lock()
	defer s.told.mu.Unlock()
	s.t.Logf("%s; faults %v; %d and %d snapshots; %d heartbeats; alarms %v", time.Since(s.begun).Round(time.Second), s.kinds, len(s.slots["one"]), len(s.slots["two"]), s.told.beats, s.told.alarms)
}

func (s *soak) slotsOnce(source string) {
	seen := map[string]string{}
	for id, slot := range s.slots[source] {
		if other := seen[slot]; other != "" || slot == "" {
			s.t.Errorf("%s: slot %q has the snapshots %s and %s", source, slot, other, id)
		}
		seen[slot] = id
	}
	if len(seen) < 5 {
		s.t.Errorf("%s: only %d snapshots", source, len(seen))
	}
}

func (s *soak) noOverlap(source, task string) {
	all := s.runs(source, task)
	for i := 1; i < len(all); i++ {
		if all[i].Began.Before(all[i-1].Ended) {
			s.t.Errorf("%s: %s of %s began at %s, and the one before ended at %s", source, task, all[i].Slot, all[i].Began, all[i-1].Ended)
		}
		if all[i].Slot.Equal(all[i-1].Slot) {
			s.t.Errorf("%s: %s of %s was noted twice", source, task, all[i].Slot)
		}
	}
}

// covered: every time from the first to the last was done, or tried, or is noted as missed.
func (s *soak) covered(source string) {
	done := map[time.Time]bool{}
	for _, slot := range s.slots[source] {
		if at, err := time.Parse(time.RFC3339, slot); err == nil {
			done[at.UTC()] = true
		}
	}
	all := s.runs(source, "backup")
	missed := 0
	for _, r := range all {
		for i := range r.Missed + 1 {
			done[r.Slot.Add(-time.Duration(i)*every).UTC()] = true
		}
		missed += r.Missed
	}
	if len(all) == 0 {
		s.t.Errorf("%s: no backup was noted", source)
		return
	}
	for at := all[0].Slot; at.Before(all[len(all)-1].Slot); at = at.Add(every) {
		if !done[at.UTC()] {
			s.t.Errorf("%s: nobody knows what became of the backup of %s", source, at)
		}
	}
	s.t.Logf("%s: %d backups noted, %d times missed while nobody led or the store was away", source, len(all), missed)
}

// retained: what the policy leaves, and what came after the last prune. Of the source that
// was wiped nothing was removed since.
func (s *soak) retained() {
	found, _ := os.ReadDir(s.place("one", "manifests"))
	if n, most := len(found), keepLast+2+int(20*time.Second/every)+2; n > most || n < min(keepLast, len(s.slots["one"])) {
		s.t.Errorf("%d snapshots of one are left, want %d to %d", n, keepLast, most)
	}
	freezes, _ := filepath.Glob(s.place("two", "freezes", "*"))
	for _, f := range freezes {
		if _, err := os.Stat(s.place("two", "snapshots", filepath.Base(f), "manifest.json")); err != nil {
			s.t.Errorf("the last snapshot from before the wipe is gone: %v", err)
		}
	}
	if len(freezes) != 1 {
		s.t.Errorf("%d freezes", len(freezes))
	}
}

// alarms: those that had to come, and none that nothing explains.
func (s *soak) alarms() {
	s.told.mu.Lock()
	defer s.told.mu.Unlock()
	explained := map[string]bool{"wipe-detected two": true, "jobs-lost two": true}
	for _, name := range sources {
		if s.kinds["the store is away"] > 0 { // nothing succeeds meanwhile
			for _, a := range []string{"backup-late", "backup-failed", "verify-late", "verify-failed", "drill-failed", "prune-failed", "drill-late"} {
				explained[a+" "+name] = true
			}
		}
		if moves := s.kinds["kill -9 of the leader"] + s.kinds["SIGSTOP of the leader"] + s.kinds["SIGTERM of the leader"]; moves+s.kinds["the store is away"] >= 4 {
			explained["lease-contention "+name] = true
		}
		if s.kinds["the store is away"] > 0 && s.told.alarms["backup-late "+name]+s.told.alarms["backup-failed "+name] == 0 {
			s.t.Errorf("the store was away for %s, and nobody heard of late backups of %s", away, name)
		}
	}
	for _, a := range slices.Sorted(maps.Keys(s.told.alarms)) {
		if !explained[a] {
			s.t.Errorf("an alarm that nothing explains: %s, %d times", a, s.told.alarms[a])
		}
	}
	if s.told.beats == 0 {
		s.t.Error("no heartbeat came")
	}
}

// whole sees that nothing broke inside.
func (s *soak) whole() {
	for _, d := range s.daemons {
		if strings.Contains(d.log.text(), "panicked") {
			s.t.Errorf("daemon %s panicked", d.name)
		}
	}
}

// shown sees that a Prometheus which scraped the daemons all the while had an answer to each
// query of the dashboard, at some time, and can evaluate each rule.
func (s *soak) shown(p *promtest.Server) {
	left := promtest.Queries(s.t, sources...)
	p.Until("the dashboard", func() []string {
		left = slices.DeleteFunc(left, func(expr string) bool {
			n, err := p.Series("count_over_time((" + expr + ")[10m:1s])") // some runs are over in a moment
			return err == nil && n > 0
		})
		return left
	})
	rules, err := p.Rules()
	if err != nil || len(rules) < 25 {
		s.t.Errorf("%d rules, %v", len(rules), err)
	}
	for _, r := range rules {
		if r.Health != "ok" {
			s.t.Errorf("%s: %s %s", r.Name, r.Health, r.LastError)
		}
		if n, err := p.Series(r.Name); r.Type == "recording" && (err != nil || n == 0) {
			s.t.Errorf("%s yields %d series, %v", r.Name, n, err)
		}
	}
}
