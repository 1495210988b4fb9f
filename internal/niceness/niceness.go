// Package niceness lets other processes of the machine go first.
package niceness

import (
	"os"
	"strconv"
	"syscall"
)

// Degrees of niceness, for work that can wait for Redis, which may share our processors.
const (
	Polite = 10
	Last   = 19 // where Redis is busy with others: hardly anything is left where they take all
)

// Raise makes this process at least that nice, where the system has threads in /proc as
// Linux does: a niceness belongs to a thread there, and new threads have that of the one that
// made them. What fails changes nothing: it is no reason not to work.
func Raise(to int) {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return
	}
	for _, t := range tasks {
		id, err := strconv.Atoi(t.Name())
		if err != nil {
			continue
		}
		// The call itself answers 20 minus the niceness.
		if now, err := syscall.Getpriority(syscall.PRIO_PROCESS, id); err == nil && 20-now < to {
			_ = syscall.Setpriority(syscall.PRIO_PROCESS, id, to)
		}
	}
}
