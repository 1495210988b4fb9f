package child

import (
	"os/exec"
	"syscall"
)

// tie lets the program die with its parent, and die of nothing else that is meant for it.
func tie(cmd *exec.Cmd, apart bool) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: apart}
}
