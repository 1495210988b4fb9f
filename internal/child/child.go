// Package child starts programs that end with this process: no server outlives an rqvault,
// or a test binary, that was killed.
package child

import (
	"os"
	"os/exec"
	"runtime"
	"time"
)

// Process is a started program and the one goroutine that waits for it.
type Process struct {
	cmd  *exec.Cmd
	pid  int
	done chan struct{}
}

// Start starts cmd from a goroutine that keeps its thread until the program ends: the
// kernel ties "kill the child when the parent dies" to that thread. One that is apart gets
// no Ctrl-C from the terminal: its parent ends it in order.
func Start(cmd *exec.Cmd, apart bool) (*Process, error) {
	tie(cmd, apart)
	p := &Process{cmd: cmd, done: make(chan struct{})}
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
			_ = cmd.Wait() // how it ended says nothing: it is ended from here
		}
		close(p.done)
	}()
	return p, <-started
}

// Pid is the program's process id.
func (p *Process) Pid() int { return p.pid }

// Done is closed when the program has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Exited reports whether it has.
func (p *Process) Exited() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Kill ends the program at once and waits until it is gone.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // an error means that it has ended
	<-p.done
}

// End sends sig and waits; a program that takes longer than patience is killed.
func (p *Process) End(sig os.Signal, patience time.Duration) {
	if p.Exited() {
		return
	}
	_ = p.cmd.Process.Signal(sig)
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
		p.Kill()
	}
}
