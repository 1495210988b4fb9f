package scratch

import (
	"os/exec"
	"syscall"
)

// tie lets the program die with its parent, and keeps a Ctrl-C on the terminal for the
// parent, which ends it in order.
func tie(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
