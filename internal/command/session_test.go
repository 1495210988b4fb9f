package command_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"rqvault/internal/redistest"
)

// TestSessions runs what people type, as testdata/sessions/*.txt tell it. Each file has a
// server and a store of its own; rqvault is a process. A line is one of
//
//	# …                     a remark
//	N> rqvault …            a command line that exits with N
//	out REGEXP, err REGEXP  what the last one printed; !out and !err: what it did not
//	oneline                 the last one complained in one sentence and at most one next step
//	redis …                 a command for the server
//	rq …                    Python, with queue() and work() at hand
//	restart, kill           the server comes back empty; is gone
//	flip FILE               the middle byte of the only file of that name under the store
//	remove FILE             the only file of that name under the store
//	env NAME=VALUE          a variable for the commands that follow
//
// where $REDIS, $STORE, $FIRST and $ID (the first and the last snapshot) and $DIR stand
// for themselves.
func TestSessions(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join("testdata", "sessions", "*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no sessions: %v", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			s := &session{t: t, vault: newVault(t, redistest.WithTCP(), redistest.WithPassword("hunter2")), dir: t.TempDir()}
			for i, line := range strings.Split(string(text), "\n") {
				s.where = fmt.Sprintf("%s:%d", f, i+1)
				s.line(strings.TrimSpace(line))
			}
		})
	}
}

type session struct {
	t     *testing.T
	vault *vault
	dir   string
	env   []string
	last  result
	where string
}

func (s *session) line(line string) {
	s.t.Helper()
	word, rest, _ := strings.Cut(line, " ")
	rest = s.expand(rest)
	code, command := strings.CutSuffix(word, ">")
	switch {
	case word == "" || word == "#":
	case command:
		want, err := strconv.Atoi(code)
		if err != nil {
			s.t.Fatalf("%s: %v", s.where, err)
		}
		s.run(want, fields(rest))
	case word == "out" || word == "err" || word == "!out" || word == "!err":
		text := s.last.out
		if strings.HasSuffix(word, "err") {
			text = s.last.err
		}
		if re := regexp.MustCompile("(?m)" + rest); re.MatchString(text) == strings.HasPrefix(word, "!") {
			s.t.Errorf("%s: %s, of\n%s%s", s.where, line, s.last.out, s.last.err)
		}
	case word == "oneline":
		s.oneSentence()
	case word == "redis":
		var args []any
		for _, a := range fields(rest) {
			args = append(args, a)
		}
		s.vault.s.Do(args...)
	case word == "rq":
		s.vault.rq(rest)
	case word == "restart":
		s.vault.s.Restart(true)
	case word == "kill":
		s.vault.s.Kill()
	case word == "flip":
		path := s.find(rest)
		b, err := os.ReadFile(path)
		if err != nil {
			s.t.Fatal(err)
		}
		b[len(b)/2] ^= 1
		s.write(path, b)
	case word == "remove":
		if err := os.Remove(s.find(rest)); err != nil {
			s.t.Fatal(err)
		}
	case word == "env":
		s.env = append(s.env, rest)
	default:
		s.t.Fatalf("%s: what is %q?", s.where, line)
	}
}

func (s *session) run(want int, args []string) {
	s.t.Helper()
	cmd := process(s.t, args, s.env...)
	cmd.Dir = s.dir
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run() // its exit code is the result
	s.last = result{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
	if s.last.code != want {
		s.t.Fatalf("%s: %s: exit %d, want %d\n%s%s", s.where, strings.Join(args, " "), s.last.code, want, s.last.out, s.last.err)
	}
	if strings.Contains(s.last.out+s.last.err, marker) || strings.Contains(s.last.out+s.last.err, "hunter2") {
		s.t.Errorf("%s: prints a payload or a password\n%s%s", s.where, s.last.out, s.last.err)
	}
}

// oneSentence checks the form of a complaint: "rqvault: …", then perhaps "next: …".
func (s *session) oneSentence() {
	s.t.Helper()
	lines := strings.Split(strings.TrimSuffix(s.last.err, "\n"), "\n")
	if !strings.HasPrefix(lines[0], "rqvault: ") || len(lines) > 2 || len(lines) == 2 && !strings.HasPrefix(lines[1], "next: ") {
		s.t.Errorf("%s: not one sentence and a next step:\n%s", s.where, s.last.err)
	}
	if len(lines[0]) > 400 {
		s.t.Errorf("%s: %d characters are no sentence that anyone reads:\n%s", s.where, len(lines[0]), lines[0])
	}
}

func (s *session) expand(text string) string {
	return os.Expand(text, func(name string) string {
		switch name {
		case "REDIS":
			return s.vault.redis
		case "STORE":
			return s.vault.store
		case "DIR":
			return s.dir
		case "ID", "FIRST":
			ids, err := filepath.Glob(filepath.Join(s.vault.store, "*", "snapshots", "*"))
			if err != nil || len(ids) == 0 {
				s.t.Fatalf("%s: no snapshot yet", s.where)
			}
			if name == "FIRST" {
				return filepath.Base(ids[0])
			}
			return filepath.Base(ids[len(ids)-1])
		}
		s.t.Fatalf("%s: what is $%s?", s.where, name)
		return ""
	})
}

func (s *session) find(name string) string {
	s.t.Helper()
	var found []string
	err := filepath.WalkDir(s.vault.store, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Name() == name {
			found = append(found, path)
		}
		return err
	})
	if err != nil || len(found) != 1 {
		s.t.Fatalf("%s: %d files are called %s: %v", s.where, len(found), name, err)
	}
	return found[0]
}

// write replaces a stored file, which may be read-only.
func (s *session) write(path string, b []byte) {
	s.t.Helper()
	if err := os.Remove(path); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// fields splits at spaces, but not within 'single quotes'.
func fields(line string) []string {
	var out []string
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			out = append(out, part)
			continue
		}
		out = append(out, strings.Fields(part)...)
	}
	return out
}
