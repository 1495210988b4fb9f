package command_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// words returns what could stand at the end of a command line.
func (v *vault) words(typed ...string) []string {
	v.t.Helper()
	cmd := process(v.t, append([]string{"rqvault", "__complete", "--"}, typed...), append(v.env, "RQVAULT_STORE="+v.store)...)
	out, err := cmd.Output()
	if err != nil {
		v.t.Fatalf("complete %q: %v", typed, err)
	}
	var words []string
	for line := range strings.Lines(string(out)) {
		word, _, tabbed := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		if !tabbed {
			v.t.Errorf("complete %q: no tab in %q", typed, line)
		}
		words = append(words, word)
	}
	return words
}

func TestCompletion(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.want(0, "backup", "--quiet")
	v.want(0, "backup", "--quiet", "--source", "other")
	id := v.only("default")
	for _, c := range []struct {
		typed []string
		want  []string
	}{
		{[]string{"ba"}, []string{"backup"}},
		{[]string{"help", "ver"}, []string{"verify", "version"}},
		{[]string{"__"}, nil},
		{[]string{"nosuch", ""}, nil},
		{[]string{"diff", "--ev"}, []string{"--evidence"}},
		{[]string{"diff", "--evidence", "--ev"}, nil},
		{[]string{"diff", "--queue", "a", "--qu"}, []string{"--queue", "--quiet"}},
		{[]string{"diff", "--via", "s"}, []string{"sync", "scan"}},
		{[]string{"diff", "--via=s"}, []string{"--via=sync", "--via=scan"}},
		{[]string{"restore", "--started", ""}, []string{"requeue", "hold", "fail"}},
		{[]string{"restore", "--policy", "at-m"}, []string{"at-most-once"}},
		{[]string{"restore", "--assume", "o"}, []string{"older"}},
		{[]string{"jobs", "--status", "fi"}, []string{"finished"}},
		{[]string{"verify", "--invariant", "queue-dup"}, []string{"queue-duplicate-id"}},
		{[]string{"restore", "--plan", ""}, []string{":files"}},
		{[]string{"diff", "--queue", ""}, nil},
		{[]string{"config", "pr"}, []string{"print"}},
		{[]string{"diff", "--config", ""}, []string{":files"}},
		{[]string{"completion", ""}, []string{"bash", "zsh", "fish"}},
		{[]string{"verify", ""}, []string{"latest", id}},
		{[]string{"verify", "--apply", "2"}, nil}, // no flag of verify's: a mistake is not completed
		{[]string{"verify", "--all", "2"}, []string{id}},
		{[]string{"restore", "--apply", "--", "l"}, []string{"latest"}},
		{[]string{"show", "--source", "other", "2"}, []string{v.only("other"), ":files"}},
		{[]string{"show", "--store", filepath.Join(t.TempDir(), "none"), ""}, []string{":files"}},
	} {
		if got := v.words(c.typed...); !slices.Equal(got, c.want) {
			t.Errorf("rqvault %q: got %q, want %q", c.typed, got, c.want)
		}
	}
	if got := v.words("backup", ""); !slices.Contains(got, "--fast") || !slices.Contains(got, "--redis") {
		t.Errorf("backup takes no argument, so its flags are offered; got %q", got)
	}
}

// only returns the id of the one snapshot that a source has.
func (v *vault) only(source string) string {
	v.t.Helper()
	ids, err := filepath.Glob(filepath.Join(v.store, source, "snapshots", "*"))
	if err != nil || len(ids) != 1 {
		v.t.Fatalf("source %s: got %q, %v; want one snapshot", source, ids, err)
	}
	return filepath.Base(ids[0])
}

// The tab key, pressed in the shells themselves.
func TestCompletionInShells(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	v.want(0, "backup", "--quiet")
	id := v.only("default")
	for _, sh := range []struct {
		name  string
		args  []string
		setup string
	}{
		{"bash", []string{"--norc", "--noprofile", "-i"}, "source %s"},
		{"zsh", []string{"-f", "-i"}, "autoload -U compinit; compinit -u -D; source %s"},
		{"fish", []string{"--no-config", "-i"}, "source %s"},
	} {
		t.Run(sh.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			script, err := process(t, []string{"rqvault", "completion", sh.name}).Output()
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "script"), script, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "my-plan.json"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(self, filepath.Join(dir, "rqvault")); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(sh.name, sh.args...)
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), asRqvault+"=rqvault", "GORACE=atexit_sleep_ms=0", "RQVAULT_STORE="+v.store, "PATH="+dir+":"+os.Getenv("PATH"),
				"HOME="+dir, "TERM=xterm", "LC_ALL=C.UTF-8", "XDG_CONFIG_HOME="+dir, "XDG_DATA_HOME="+dir)
			k := newKeyboard(t, cmd)
			k.types(fmt.Sprintf(sh.setup, "./script")+"; echo ready-$(expr 40 + 2)\r", "ready-42")
			k.types("rqvault bac\t", "backup")
			k.types("\x15rqvault diff --evi\t", "--evidence")
			k.types("\x15rqvault restore --policy at-m\t", "at-most-once")
			k.types("\x15rqvault restore --via=sc\t", "--via=scan")
			k.types("\x15rqvault verify --all 2\t", id)
			k.types("\x15rqvault restore --plan my-\t", "my-plan.json")
		})
	}
}

// keyboard is a terminal with a shell in it.
type keyboard struct {
	t      *testing.T
	master *os.File
	mu     sync.Mutex
	screen strings.Builder
	seen   chan struct{} // something new is on the screen
}

func newKeyboard(t *testing.T, cmd *exec.Cmd) *keyboard {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 50, Col: 200}); err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true, Setctty: true} // its terminal's end is its own
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = slave.Close()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = master.Close()
	})
	k := &keyboard{t: t, master: master, seen: make(chan struct{}, 1)}
	go k.watch()
	return k
}

func (k *keyboard) watch() {
	b := make([]byte, 4096)
	for {
		n, err := k.master.Read(b)
		if err != nil {
			return
		}
		k.mu.Lock()
		k.screen.Write(b[:n])
		k.mu.Unlock()
		select {
		case k.seen <- struct{}{}:
		default:
		}
	}
}

// sequences are what a shell sends to move the cursor and to paint.
var sequences = regexp.MustCompile(`\x1b(\[[0-9;?>]*[ -/]*[@-~]|\][^\x07]*\x07|[()][A-Z0-9]|[=>78])|[\x07\x0f\r]`)

// types presses keys, and waits until the screen shows more than was typed: what the
// shell made of it.
func (k *keyboard) types(keys, want string) {
	k.t.Helper()
	k.mu.Lock()
	from := k.screen.Len()
	k.mu.Unlock()
	if _, err := k.master.WriteString(keys); err != nil {
		k.t.Fatal(err)
	}
	late := time.After(60 * time.Second)
	for {
		k.mu.Lock()
		shown := k.screen.String()[from:]
		k.mu.Unlock()
		if strings.Contains(erase(sequences.ReplaceAllString(shown, "")), want) {
			return
		}
		select {
		case <-k.seen:
		case <-late:
			k.t.Fatalf("typed %q: want %q on the screen, which shows %q", keys, want, shown)
		}
	}
}

// erase takes back what a backspace takes back.
func erase(shown string) string {
	var out []rune
	for _, r := range shown {
		if r != '\b' {
			out = append(out, r)
		} else if len(out) > 0 {
			out = out[:len(out)-1]
		}
	}
	return string(out)
}
