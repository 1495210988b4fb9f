package command_test

import (
	"os/exec"
	"strings"
	"testing"
)

// The manual page is one that mandoc has no complaint about, and it knows every command
// and flag that help does.
func TestManualPage(t *testing.T) {
	t.Parallel()
	page, err := process(t, []string{"rqvault", "man"}).Output()
	if err != nil {
		t.Fatal(err)
	}
	lint := exec.Command("mandoc", "-Tlint", "-Wstyle")
	lint.Stdin = strings.NewReader(string(page))
	if out, err := lint.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("mandoc -Tlint: %v\n%s", err, out)
	}
	render := exec.Command("mandoc", "-Tutf8", "-Owidth=1000")
	render.Stdin = strings.NewReader(string(page))
	rendered, err := render.Output()
	if err != nil {
		t.Fatal(err)
	}
	text := erase(strings.ReplaceAll(string(rendered), "‐", "-"))
	v := &vault{t: t, store: t.TempDir()}
	for _, cmd := range v.words("") {
		if cmd == "help" {
			continue // the library's own
		}
		if !strings.Contains(text, "rqvault "+cmd) {
			t.Errorf("the page does not know rqvault %s", cmd)
		}
		for _, flag := range v.words(cmd, "-") {
			if !strings.Contains(text, flag) {
				t.Errorf("the page does not know rqvault %s %s", cmd, flag)
			}
		}
	}
	if strings.Contains(text, "__complete") {
		t.Error("the page shows a hidden command")
	}
}
