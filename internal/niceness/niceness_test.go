package niceness_test

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"

	"rqvault/internal/niceness"
)

// All threads are nice, those that are made later too. A process of its own tells, since
// niceness cannot be taken back.
func TestRaise(t *testing.T) {
	if os.Getenv("RQVAULT_TEST_NICE") == "" {
		cmd := exec.Command(os.Args[0], "-test.run", "^TestRaise$", "-test.v")
		cmd.Env = append(os.Environ(), "RQVAULT_TEST_NICE=1")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "threads are nice") {
			t.Fatalf("%v: %s", err, out)
		}
		return
	}
	niceness.Raise(niceness.Polite)
	var all, made sync.WaitGroup
	stop := make(chan struct{})
	for range 8 { // each has a thread of its own
		made.Add(1)
		all.Go(func() {
			runtime.LockOSThread()
			made.Done()
			<-stop
		})
	}
	made.Wait()
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		stat, err := os.ReadFile("/proc/self/task/" + task.Name() + "/stat")
		if err != nil {
			continue // it has ended
		}
		_, after, _ := strings.Cut(string(stat), ") ")
		if fields := strings.Fields(after); fields[16] != "10" { // the 19th of all
			t.Errorf("thread %s has niceness %s", task.Name(), fields[16])
		}
	}
	close(stop)
	all.Wait()
	if len(tasks) < 8 {
		t.Errorf("only %d threads were looked at", len(tasks))
	}
	t.Log(len(tasks), "threads are nice")
}
