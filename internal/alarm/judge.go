package alarm

import (
	"fmt"
	"strings"
	"time"
)

// Alarm is one thing that is wrong now. Its texts hold names of sources, counts and times,
// never a job's content, a password or a hook's URL.
type Alarm struct {
	Name     Name      `json:"name"`
	Severity Severity  `json:"severity"`
	Source   string    `json:"source"`
	Summary  string    `json:"summary"` // one sentence
	Next     string    `json:"next"`    // the command to type
	Runbook  string    `json:"runbook"` // where the runbook has its section
	Since    time.Time `json:"since"`
}

// Facts is what is known of one source at one moment. What is not known stays zero, and
// raises nothing.
type Facts struct {
	Source string

	Backup, Verify, Drill, Prune Task

	Frozen    time.Time // since when a wipe keeps retention frozen; zero: it does not
	FrozenWhy string    // what showed the wipe, in a few words

	Lost      int64 // jobs that the last diff would restore or repair
	Uncertain int64 // jobs that it leaves to a person
	Breaches  int64 // high and critical findings of the last live fsck

	RedisDown time.Time // since when Redis does not answer; zero: it does
	StoreDown time.Time // since when the store does not

	LeaseMoves int // how often the leader changed within the last hour
}

// Task is how one kind of run went of late.
type Task struct {
	Limit   time.Duration // how old the last success may be; 0: the task is not scheduled
	From    time.Time     // since when it is expected, for one that never succeeded
	Success time.Time     // when it last succeeded; zero: never
	Failed  int           // how often it failed since then, in a row
	Failure time.Time     // the first of those
	Reason  string        // why the last one did, in a word such as store_unreachable
}

// Limits says from when on something counts. Zero values are replaced by the defaults.
type Limits struct {
	Failures   int           // failures in a row before a task counts as failed (2)
	Outage     time.Duration // how long Redis or the store may be away (2 minutes)
	LeaseMoves int           // changes of the leader within an hour (4)
	Runbook    string        // where the runbook is (docs/runbook.md)
	Config     string        // the configuration's file, if it is not where commands look for it
}

func (l Limits) withDefaults() Limits {
	if l.Failures <= 0 {
		l.Failures = 2
	}
	if l.Outage <= 0 {
		l.Outage = 2 * time.Minute
	}
	if l.LeaseMoves <= 0 {
		l.LeaseMoves = 4
	}
	if l.Runbook == "" {
		l.Runbook = "docs/runbook.md"
	}
	return l
}

// Judge returns the alarms that the facts give at that moment, in the order of their names.
func Judge(f Facts, l Limits, now time.Time) []Alarm {
	j := &judge{Facts: f, limits: l.withDefaults(), now: now}
	j.tasks()
	j.data()
	j.reach()
	return sorted(j.alarms)
}

// judge collects the alarms of one source.
type judge struct {
	Facts
	limits Limits
	now    time.Time
	alarms []Alarm
}

// raise adds an alarm. In its commands $WHICH becomes the flags that name the source, and
// $CONFIG the one that names the configuration.
func (j *judge) raise(name Name, since time.Time, next, format string, args ...any) {
	config := ""
	if j.limits.Config != "" {
		config = " --config " + quoted(j.limits.Config)
	}
	j.alarms = append(j.alarms, Alarm{
		Name:     name,
		Severity: name.Severity(),
		Source:   j.Source,
		Summary:  fmt.Sprintf(format, args...),
		Next:     strings.NewReplacer("$WHICH", "--source "+quoted(j.Source)+config, "$CONFIG", config).Replace(next),
		Runbook:  j.limits.Runbook + "#" + string(name),
		Since:    since,
	})
}

func (j *judge) tasks() {
	j.late(BackupLate, j.Backup, "backup", "rqvault backup $WHICH")
	j.late(VerifyLate, j.Verify, "verify", "rqvault verify $WHICH")
	j.late(DrillLate, j.Drill, "drill", "rqvault drill $WHICH")
	j.failed(BackupFailed, j.Backup, "backup", "rqvault doctor $WHICH; then rqvault backup $WHICH")
	j.failed(VerifyFailed, j.Verify, "verify", "rqvault verify --all $WHICH")
	j.failed(DrillFailed, j.Drill, "drill", "rqvault drill $WHICH")
	j.failed(PruneFailed, j.Prune, "prune", "rqvault prune $WHICH")
}

// late tells of a task whose last success is too old, or that never had one in time.
func (j *judge) late(name Name, t Task, what, next string) {
	from, ever := t.Success, true
	if from.IsZero() {
		from, ever = t.From, false
	}
	if t.Limit <= 0 || from.IsZero() || j.now.Sub(from) <= t.Limit {
		return
	}
	if ever {
		j.raise(name, from.Add(t.Limit), next, "the last good %s was %s ago; it may be %s old", what, lasted(j.now.Sub(from)), lasted(t.Limit))
		return
	}
	j.raise(name, from.Add(t.Limit), next, "no %s has succeeded within %s, and none ever has", what, lasted(j.now.Sub(from)))
}

// failed tells of a task that failed several times in a row; or once, if it came to an
// answer and that was bad, since trying again makes nothing whole.
func (j *judge) failed(name Name, t Task, what, next string) {
	final := t.Reason == "damaged" || t.Reason == "differences"
	if t.Failed == 0 || t.Failed < j.limits.Failures && !final || j.follows(t) {
		return
	}
	j.raise(name, t.Failure, next, "%s failed %s in a row: %s", what, counted(int64(t.Failed), "time"), plain(t.Reason))
}

// follows reports whether a task failed only because something else is away right now,
// which has an alarm of its own.
func (j *judge) follows(t Task) bool {
	return t.Reason == "redis_unreachable" && !j.RedisDown.IsZero() || t.Reason == "store_unreachable" && !j.StoreDown.IsZero()
}

// data tells of jobs.
func (j *judge) data() {
	const look = "rqvault diff $WHICH"
	if !j.Frozen.IsZero() {
		j.raise(WipeDetected, j.Frozen, look, "Redis lost most of its data: %s; retention is frozen, so that the good snapshots stay", orUnknown(j.FrozenWhy))
	}
	if j.Lost > 0 {
		j.raise(JobsLost, time.Time{}, look+"; then rqvault restore $WHICH", "%s lost or out of place in live Redis", counted(j.Lost, "job"))
	}
	if j.Uncertain > 0 {
		j.raise(JobsUncertain, time.Time{}, look, "%s left for you to decide: what became of them cannot be known", counted(j.Uncertain, "job"))
	}
	if j.Breaches > 0 {
		j.raise(RulesBroken, time.Time{}, "rqvault verify --live $WHICH", "%s of RQ's own rules in live Redis", counted(j.Breaches, "breach"))
	}
}

// reach tells of what does not answer. A moment's silence is none.
func (j *judge) reach() {
	if j.outage(j.RedisDown) {
		j.raise(RedisDown, j.RedisDown, "rqvault doctor $WHICH", "Redis has not answered for %s", lasted(j.now.Sub(j.RedisDown)))
	}
	if j.outage(j.StoreDown) {
		j.raise(StoreUnreachable, j.StoreDown, "rqvault snapshots $WHICH", "the store has not answered for %s: nothing can be saved or restored", lasted(j.now.Sub(j.StoreDown)))
	}
	if j.LeaseMoves >= j.limits.LeaseMoves {
		j.raise(LeaseContention, time.Time{}, "rqvault config check$CONFIG", "the leader changed %s within an hour: replicas pause, crash, or reach the store badly", counted(int64(j.LeaseMoves), "time"))
	}
}

func (j *judge) outage(since time.Time) bool {
	return !since.IsZero() && j.now.Sub(since) >= j.limits.Outage
}
