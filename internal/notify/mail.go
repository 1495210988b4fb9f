package notify

import (
	"context"
	"fmt"
	"mime"
	"os/exec"
	"strings"
	"time"

	"rqvault/internal/alarm"
)

// mailTimeout is how long a mail program may take.
const mailTimeout = time.Minute

// Mail gives each notice to a program of this machine, on its standard input, as a mail that
// lacks only whom it is from and for: the program's arguments say that. No shell is in
// between, and of this process' environment the program gets what Env has and no more.
type Mail struct {
	Argv []string // the program and its arguments, for example sendmail, ops@example.org
	Env  []string // NAME=value, for example PATH and HOME
}

// Send runs the program.
func (m Mail) Send(ctx context.Context, n alarm.Notice) error {
	if len(m.Argv) == 0 {
		return fmt.Errorf("%w: no mail program is named", ErrRefused)
	}
	ctx, cancel := context.WithTimeout(ctx, mailTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, m.Argv[0], m.Argv[1:]...)
	cmd.Env = append([]string{}, m.Env...) // never nil: that would mean all of ours
	cmd.Stdin = strings.NewReader(mailText(n))
	said := &tail{}
	cmd.Stderr = said
	cmd.WaitDelay = 5 * time.Second // for what it started itself and left behind
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return fmt.Errorf("run the mail program %s: %w%s", m.Argv[0], err, said)
	}
	return nil
}

// mailText is the whole message. Its first line is the subject, for programs that know no mail.
func mailText(n alarm.Notice) string {
	var b strings.Builder
	for _, header := range [][2]string{
		{"Subject", mime.QEncoding.Encode("utf-8", oneLine(title(n)))},
		{"Date", n.At.UTC().Format(time.RFC1123Z)},
		{"Message-ID", "<" + n.ID() + "@rqvault>"},
		{"Auto-Submitted", "auto-generated"},
		{"MIME-Version", "1.0"},
		{"Content-Type", "text/plain; charset=utf-8"},
	} {
		fmt.Fprintf(&b, "%s: %s\n", header[0], header[1])
	}
	return b.String() + "\n" + body(n)
}

// oneLine keeps a name from adding headers.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// tail keeps the end of what a program says.
type tail struct{ text []byte }

const maxTail = 300

func (t *tail) Write(p []byte) (int, error) {
	t.text = append(t.text, p...)
	t.text = t.text[max(0, len(t.text)-maxTail):]
	return len(p), nil
}

func (t *tail) String() string {
	text := oneLine(strings.ToValidUTF8(string(t.text), "�"))
	if text == "" {
		return ""
	}
	return ": " + text
}
