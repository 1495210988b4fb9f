package s3test

import (
	"os"
	"os/exec"
	"runtime"
	"time"
)

// process is a started program and the one goroutine that waits for it.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
}

// startProcess starts cmd from a goroutine that keeps its thread until the program
// ends: the kernel's promise to kill the child with its parent hangs on that thread,
// and with it no server outlives a test binary that was killed.
func startProcess(cmd *exec.Cmd) (*process, error) {
	dieWithParent(cmd)
	p := &process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended says nothing: we end it ourselves
		}
		close(p.done)
	}()
	return p, <-started
}

// kill ends the program at once and waits until it is gone.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // an error means that it has ended
	<-p.done
}

// stop asks the program to end and kills it if it takes longer than patience.
func (p *process) stop(patience time.Duration) {
	_ = p.cmd.Process.Signal(os.Interrupt)
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
		p.kill()
	}
}
