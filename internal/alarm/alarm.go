// Package alarm decides what people must hear of. Judge turns what is known of one source
// into alarms, and a Book remembers which of them people have heard, so that each is told
// once, again after a while if it stays, and once more when it is over. Nothing here sends,
// reads a clock or knows a network: facts and the time come in, alarms and notices go out.
package alarm

import (
	"cmp"
	"fmt"
	"slices"
)

// Severity is how much an alarm matters.
type Severity int

// The severities, the mildest first. A warning can wait for the morning; what is critical
// loses jobs, or would if Redis died now.
const (
	Warning Severity = iota + 1
	Critical
)

var severityNames = map[Severity]string{Warning: "warning", Critical: "critical"}

func (s Severity) String() string { return severityNames[s] }

// MarshalText writes the severity's name.
func (s Severity) MarshalText() ([]byte, error) {
	if severityNames[s] == "" {
		return nil, fmt.Errorf("no severity has the number %d", int(s))
	}
	return []byte(severityNames[s]), nil
}

// UnmarshalText reads a severity's name.
func (s *Severity) UnmarshalText(text []byte) error {
	for severity, name := range severityNames {
		if name == string(text) {
			*s = severity
			return nil
		}
	}
	return fmt.Errorf("unknown severity %q: there are warning and critical", text)
}

// Name says which kind of alarm it is. It is also its section's anchor in the runbook.
type Name string

// The alarms that rqvault itself raises. docs/alarms.md explains each.
const (
	BackupFailed     Name = "backup-failed"
	BackupLate       Name = "backup-late"
	VerifyFailed     Name = "verify-failed"
	VerifyLate       Name = "verify-late"
	DrillFailed      Name = "drill-failed"
	DrillLate        Name = "drill-late"
	PruneFailed      Name = "prune-failed"
	WipeDetected     Name = "wipe-detected"
	JobsLost         Name = "jobs-lost"
	JobsUncertain    Name = "jobs-uncertain"
	RulesBroken      Name = "rules-broken"
	StoreUnreachable Name = "store-unreachable"
	LeaseContention  Name = "lease-contention"
	RedisDown        Name = "redis-down"
)

// severities says how much each alarm matters, and so which alarms there are.
var severities = map[Name]Severity{
	BackupFailed:     Warning,
	BackupLate:       Critical,
	VerifyFailed:     Critical,
	VerifyLate:       Warning,
	DrillFailed:      Critical,
	DrillLate:        Warning,
	PruneFailed:      Warning,
	WipeDetected:     Critical,
	JobsLost:         Critical,
	JobsUncertain:    Warning,
	RulesBroken:      Warning,
	StoreUnreachable: Critical,
	LeaseContention:  Warning,
	RedisDown:        Critical,
}

// Names lists all alarms, sorted.
func Names() []Name {
	names := make([]Name, 0, len(severities))
	for name := range severities {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Severity is how much an alarm of that name matters; 0 if there is none.
func (n Name) Severity() Severity { return severities[n] }

// byKey is the order in which alarms are kept and shown: by source, then by name.
func byKey(a, b Alarm) int {
	return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.Name, b.Name))
}
