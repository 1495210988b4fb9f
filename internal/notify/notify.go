// Package notify tells people and other programs: by Slack-compatible webhooks, by signed
// JSON, through a mail program, and by the heartbeat of a dead man's switch. It decides
// nothing: what to say comes as notices from internal/alarm. A message holds what its alarm
// holds, and no error tells more of a hook's URL than its host.
package notify

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"rqvault/internal/alarm"
)

// ErrRefused says that a target does not want a message, so that sending it again is idle:
// a hook that is gone, a signature that is wrong.
var ErrRefused = errors.New("the receiver refused the message")

// Sender sends one notice. It may be asked again with the same notice after an error.
type Sender interface {
	Send(ctx context.Context, n alarm.Notice) error
}

// Target is one receiver.
type Target struct {
	Name   string         // as in the configuration; it may be logged and stand in metrics
	Least  alarm.Severity // milder alarms are not for it
	Sender Sender
}

// wants reports whether a notice is for the target: also the good news about an alarm that
// was bad enough once.
func (t Target) wants(n alarm.Notice) bool { return n.Peak >= t.Least }

// Later is an error of a receiver that says how long not to ask again.
type Later struct {
	Err   error
	After time.Duration
}

func (l *Later) Error() string { return l.Err.Error() }
func (l *Later) Unwrap() error { return l.Err }

// title is a notice in one line, for a subject or the head of a message.
func title(n alarm.Notice) string {
	words := map[alarm.State]string{alarm.Firing: strings.ToUpper(n.Alarm.Severity.String()), alarm.Repeated: "STILL " + strings.ToUpper(n.Alarm.Severity.String()), alarm.Resolved: "RESOLVED"}
	if n.Alarm.Source == "" {
		return fmt.Sprintf("[%s] rqvault: %s", words[n.State], n.Alarm.Name)
	}
	return fmt.Sprintf("[%s] rqvault %s: %s", words[n.State], n.Alarm.Source, n.Alarm.Name)
}

// body is the rest of it, for people.
func body(n alarm.Notice) string {
	since := n.Alarm.Since.UTC().Format("2006-01-02 15:04:05 UTC")
	if n.State == alarm.Resolved {
		return fmt.Sprintf("It is over. It was: %s\nsince: %s\n", n.Alarm.Summary, since)
	}
	return fmt.Sprintf("%s\nsince: %s\nnext: %s\nrunbook: %s\n", n.Alarm.Summary, since, n.Alarm.Next, n.Alarm.Runbook)
}
