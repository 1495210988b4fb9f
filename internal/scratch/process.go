package scratch

import (
	"os/exec"
	"runtime"
)

// process is a started program and the one goroutine that waits for it.
type process struct {
	cmd  *exec.Cmd
	pid  int
	done chan struct{}
}

// startProcess starts cmd from a goroutine that keeps its thread until the program ends:
// the kernel ties "kill the child when the parent dies" to that thread, and with it no
// server outlives an rqvault that was killed.
func startProcess(cmd *exec.Cmd) (*process, error) {
	tie(cmd)
	p := &process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		if err == nil {
			p.pid = cmd.Process.Pid
		}
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
		close(p.done)
	}()
	return p, <-started
}

// kill ends the program, which has nothing to save, and waits until it is gone.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended by itself
	<-p.done
}
