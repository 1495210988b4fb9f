package doctor

import (
	"strings"
	"time"
)

// Log is the end of Redis' log.
type Log struct {
	Path    string
	Problem string // why it cannot be read
	Lines   []Line
}

// Line is a line of the log that is known, and how often it is there. Its text is never
// kept.
type Line struct {
	Known *KnownLine
	Count int
	Last  time.Time // zero if the lines have no time
}

// KnownLine is what a line that contains a text means.
type KnownLine struct {
	Name  string
	Texts []string // any of them, in small letters
	Level Level
	Means string
}

// KnownLines lists the lines that are understood, the worst first.
var KnownLines = []KnownLine{
	{"crashed", []string{"redis bug report start", "crashed by signal", "assertion failed", "guru meditation"}, Fail, "Redis crashed"},
	{"aof-broken", []string{"bad file format reading the append only file", "unexpected end of file reading the append only file", "aof loading didn't end"}, Fail,
		"the AOF is broken, so Redis does not start: redis-check-aof --fix mends it, on a copy first"},
	{"dump-broken", []string{"short read or oom loading db", "unexpected eof reading rdb", "unexpected end of rdb", "wrong signature trying to load db", "wrong rdb checksum",
		"internal error in rdb reading", "terminating server after rdb file reading failure", "fatal error loading the db"}, Fail,
		"the dump is broken, so Redis does not start with it: move it away, start, and rqvault restore"},
	{"out-of-memory", []string{"out of memory allocating", "out of memory"}, Fail, "Redis found no memory and ended"},
	{"no-fork", []string{"can't save in background: fork", "can't rewrite append only file in background: fork"}, Fail, "no memory to fork for a save: see vm.overcommit_memory"},
	{"disk-full", []string{"no space left on device"}, Fail, "the disk is or was full"},
	{"aof-write", []string{"error writing to the aof file", "short write while writing to the aof file", "aof write error"}, Fail, "the AOF could not be written"},
	{"save-failed", []string{"background saving error", "failed opening the rdb file", "failed opening the temp rdb file", "failed opening temp rdb file",
		"write error saving db on disk", "background saving terminated by signal", "error moving temp db file"}, Fail, "a save failed"},
	{"misconf", []string{"misconf"}, Fail, "writes were refused because a save had failed"},
	{"aof-truncated", []string{"short read while loading the aof file", "aof loaded anyway because aof-load-truncated", "truncating the aof at offset"}, Warn,
		"the AOF was cut short at a start: the last writes before it are lost"},
	{"aof-slow", []string{"asynchronous aof fsync is taking too long"}, Warn, "the disk is too slow for the AOF, and Redis waits for it"},
	{"output-cut", []string{"closed asap for overcoming of output buffer limits"}, Warn, "a client or replica was cut off because it read too slowly"},
	{"maxclients", []string{"max number of clients reached"}, Warn, "clients were refused because maxclients was reached"},
	{"master-lost", []string{"connection with master lost", "master timeout: no data", "error condition on socket for sync", "unable to connect to master"}, Warn, "the link to its master broke"},
	{"replica-lost", []string{"disconnecting timedout replica"}, Warn, "a replica was lost"},
	{"overcommit", []string{"overcommit_memory is set to 0", "memory overcommit must be enabled"}, OK, "vm.overcommit_memory is not 1"},
	{"huge-pages", []string{"transparent huge pages (thp) support enabled"}, OK, "transparent huge pages were on at the start"},
	{"stopped", []string{"user requested shutdown", "received sigterm scheduling shutdown"}, OK, "somebody stopped it, in good order"},
}

// How old a line may be to count, and how old it may be to count fully: what is over
// only warns.
const (
	logSpan  = 24 * time.Hour
	logFresh = time.Hour
)

// ReadLog finds the known lines of a log that are not older than a day. Times in it are
// taken for those of the zone of now.
func ReadLog(text string, now time.Time) []Line {
	seen := make([]Line, len(KnownLines))
	for line := range strings.Lines(text) {
		at := lineTime(line, now.Location())
		if !at.IsZero() && now.Sub(at) > logSpan {
			continue
		}
		if i := known(strings.ToLower(line)); i >= 0 {
			seen[i].Known, seen[i].Last = &KnownLines[i], at
			seen[i].Count++
		}
	}
	var out []Line
	for _, l := range seen {
		if l.Count > 0 {
			out = append(out, l)
		}
	}
	return out
}

func known(line string) int {
	for i, k := range KnownLines {
		for _, text := range k.Texts {
			if strings.Contains(line, text) {
				return i
			}
		}
	}
	return -1
}

// lineTime reads the time of a line such as "12:M 23 Nov 2026 17:55:38.155 * …".
func lineTime(line string, zone *time.Location) time.Time {
	_, rest, _ := strings.Cut(line, " ")
	const layout = "02 Jan 2006 15:04:05.000"
	if len(rest) < len(layout) {
		return time.Time{}
	}
	t, err := time.ParseInLocation(layout, rest[:len(layout)], zone)
	if err != nil {
		return time.Time{}
	}
	return t
}

func judgeLog(f *Facts) finding {
	l := f.Log
	if l.Problem != "" {
		return unknown("its log %s cannot be read: %s", l.Path, l.Problem)
	}
	level, count := OK, map[string]int{}
	var means []string
	for _, line := range l.Lines {
		count[line.Known.Name] = line.Count
		if line.Known.Level == OK {
			continue
		}
		worth := line.Known.Level
		if !line.Last.IsZero() && f.At.Sub(line.Last) > logFresh {
			worth = Warn
		}
		if rank[worth] < rank[level] {
			level = worth
		}
		means = append(means, line.Known.Means)
	}
	got := ok("no known trouble in its log of the last day")
	if level != OK {
		got = found(level, "its log of the last day says: %s", names(means)).do("tail -n 100 " + l.Path)
	}
	return got.with("lines", count)
}
