package notify

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"rqvault/internal/alarm"
)

// Slack posts to an incoming webhook of Slack's, or of what understands the same:
// Mattermost, Rocket.Chat, Discord's /slack.
type Slack struct{ URL Secret }

// Send posts the notice as text.
func (s Slack) Send(ctx context.Context, n alarm.Notice) error {
	text := "*" + slackText(title(n)) + "*\n" + slackText(body(n))
	content, err := json.Marshal(map[string]string{"text": text})
	if err != nil {
		return fmt.Errorf("write a message: %w", err)
	}
	return post(ctx, s.URL, http.Header{"Content-Type": {"application/json"}}, content)
}

// slackText escapes what Slack takes for commands, such as a mention of everybody.
func slackText(text string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(text)
}

// The headers of a webhook.
const (
	HeaderID        = "X-Rqvault-Id"        // the same each time that one message is sent again
	HeaderTimestamp = "X-Rqvault-Timestamp" // of this attempt, in Unix seconds
	HeaderSignature = "X-Rqvault-Signature" // "v1=" and the HMAC-SHA256 in hex
)

// Webhook posts JSON, signed if there is a key.
type Webhook struct {
	URL Secret
	Key []byte // what both sides know; none: not signed
	Now func() time.Time
}

// message is the JSON of a webhook; docs/alarms.md describes it.
type message struct {
	Version  int            `json:"version"`
	ID       string         `json:"id"`
	State    alarm.State    `json:"state"`
	At       time.Time      `json:"at"`
	Name     alarm.Name     `json:"name"`
	Severity alarm.Severity `json:"severity"`
	Source   string         `json:"source"`
	Summary  string         `json:"summary"`
	Next     string         `json:"next"`
	Runbook  string         `json:"runbook"`
	Since    time.Time      `json:"since"`
}

// Send posts the notice.
func (w Webhook) Send(ctx context.Context, n alarm.Notice) error {
	a := n.Alarm
	content, err := json.Marshal(message{1, n.ID(), n.State, n.At.UTC(), a.Name, a.Severity, a.Source, a.Summary, a.Next, a.Runbook, a.Since.UTC()})
	if err != nil {
		return fmt.Errorf("write a message: %w", err)
	}
	header := http.Header{"Content-Type": {"application/json"}}
	header.Set(HeaderID, n.ID())
	stamp := strconv.FormatInt(w.Now().Unix(), 10)
	header.Set(HeaderTimestamp, stamp)
	if len(w.Key) > 0 {
		header.Set(HeaderSignature, "v1="+sign(w.Key, stamp, content))
	}
	return post(ctx, w.URL, header, content)
}

// sign covers the time and the body: a message that was caught can be sent again only for as
// long as the receiver takes its time for now, and then it has an id that was seen before.
func sign(key []byte, stamp string, content []byte) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(stamp + "."))
	mac.Write(content)
	return hex.EncodeToString(mac.Sum(nil))
}
