package ledger_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"rqvault/internal/redistest"
)

// programDir is where the program is built into. TestMain makes and removes it.
var programDir string

// build builds the program, once.
var build = sync.OnceValue(func() error {
	cmd := exec.Command("go", "build", "-o", programDir, "rqvault")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build rqvault: %w: %s", err, out)
	}
	return nil
})

// program is rqvault as people have it, at work on one Redis with one store.
type program struct {
	t        testing.TB
	s        *redistest.Server
	store    string
	patience string // RQVAULT_PATIENCE; "" for the default
}

type finding struct {
	JobID                          string `json:"job_id"`
	Queue, Status, Verdict, Action string
	Reason                         string
	Evidence                       []string
}

// acts reports whether a restore would do something about the job.
func (f *finding) acts() bool { return f.Action != "none" && f.Action != "hold" }

type diffDoc struct {
	Snapshot, Mode string
	Reasons        []string
	Counts         map[string]int
	Deleted        int
	Findings       []finding
}

// open are the findings that a restore would act on, and those that wait for a time.
func (d *diffDoc) open() []finding {
	return slices.DeleteFunc(slices.Clone(d.Findings), func(f finding) bool { return !f.acts() && f.Verdict != "in_flight" })
}

func (d *diffDoc) acts() bool {
	return slices.ContainsFunc(d.Findings, func(f finding) bool { return f.acts() })
}

type outcome struct {
	JobID                  string `json:"job_id"`
	Action, Result, Reason string
}

type restoreDoc struct {
	Mode     string
	Counts   map[string]int
	Outcomes []outcome
}

// run calls rqvault, which must end with one of the codes, and decodes what it prints.
func (p *program) run(doc any, codes []int, args ...string) int {
	p.t.Helper()
	if err := build(); err != nil {
		p.t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(programDir, "rqvault"), append(args, "--json", "--store", p.store, "--redis", p.s.SocketURL())...)
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	cmd.Env = os.Environ()
	if p.patience != "" {
		cmd.Env = append(cmd.Env, "RQVAULT_PATIENCE="+p.patience)
	}
	_ = cmd.Run() // its exit code is the result
	code := cmd.ProcessState.ExitCode()
	if !slices.Contains(codes, code) {
		p.t.Fatalf("rqvault %s: exit %d, want one of %v\n%s%s", strings.Join(args, " "), code, codes, out.String(), stderr.String())
	}
	if err := json.Unmarshal(out.Bytes(), doc); err != nil {
		p.t.Fatalf("rqvault %s: %v\n%s%s", strings.Join(args, " "), err, out.String(), stderr.String())
	}
	return code
}

// backup takes a snapshot and returns its id.
func (p *program) backup(via string) string {
	p.t.Helper()
	var m struct{ ID string }
	p.run(&m, []int{0}, "backup", "--via", via)
	return m.ID
}

// content is what a snapshot holds, read without rqvault: the stock zstd unpacks the
// dump, and another Redis loads it.
func (p *program) content(id string) *state {
	p.t.Helper()
	other := redistest.Start(p.t)
	defer other.Stop()
	dump := filepath.Join(p.store, "default", "snapshots", id, "dump.rdb.zst")
	if out, err := exec.Command("zstd", "-q", "-d", dump, "-o", other.DumpPath()).CombinedOutput(); err != nil {
		p.t.Fatalf("zstd -d is needed (apt install zstd): %v: %s", err, out)
	}
	other.Restart(false)
	return read(p.t, other)
}
