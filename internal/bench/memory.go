package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"rqvault/backup"
	"rqvault/internal/rq"
	"rqvault/internal/snapshot"
	"rqvault/internal/store/dir"
)

// sizes of which the peak memory of a backup is measured, each in a process of its own.
var memorySizes = []struct {
	name string
	synthetic
}{
	{"1 million keys", synthetic{keys: 1e6}},
	{"5 million keys", synthetic{keys: 5e6}},
	{"10 million keys", synthetic{keys: 10e6}},
	{"one list of 10 million ids", synthetic{listed: 10e6}},
	{"200 values of 7 MiB", synthetic{large: 200}},
}

// memoryLimit is what a backup may take, in MiB.
const memoryLimit = 256

// memory prints a row for each size and writes them into the document, if there is one.
func memory(work, doc string) error {
	var t strings.Builder
	t.WriteString("| dump | backup took | peak memory | goal | |\n|---|---|---|---|---|\n")
	for _, size := range memorySizes {
		took, mib, err := saveApart(work, size.synthetic)
		if err != nil {
			return fmt.Errorf("%s: %w", size.name, err)
		}
		met := "met"
		if mib > memoryLimit {
			met = "NOT met"
		}
		row := fmt.Sprintf("| %s | %.0f s | %.0f MiB | ≤ %d MiB | %s |\n", size.name, took.Seconds(), mib, memoryLimit, met)
		say("%s", strings.TrimSpace(row))
		t.WriteString(row)
	}
	fmt.Println(t.String())
	if doc == "" {
		return nil
	}
	return write(doc, "memory", func(string) string { return t.String() })
}

// saveApart takes a backup in another process, this program again, and measures that.
func saveApart(work string, s synthetic) (time.Duration, float64, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, 0, err
	}
	cmd := exec.Command(self, "-work", work, "-save", fmt.Sprintf("%d,%d,%d", s.keys, s.listed, s.large))
	cmd.Stderr = os.Stderr
	began := time.Now()
	if err := cmd.Run(); err != nil {
		return 0, 0, err
	}
	u, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0, 0, errors.New("this system does not tell a process' peak memory")
	}
	return time.Since(began), float64(u.Maxrss) / 1024, nil
}

// save takes a backup of a synthetic dump into a store that is removed at once.
func save(work, what string) error {
	var s synthetic
	if _, err := fmt.Sscanf(what, "%d,%d,%d", &s.keys, &s.listed, &s.large); err != nil {
		return fmt.Errorf("-save %s: %w", what, err)
	}
	root := filepath.Join(work, "memory")
	defer func() { _ = os.RemoveAll(root) }()
	store, err := dir.Open(root)
	if err != nil {
		return err
	}
	catalog, err := snapshot.NewCatalog(store, "default")
	if err != nil {
		return err
	}
	_, err = backup.Save(context.Background(), backup.Options{Catalog: catalog, Source: s, Schema: rq.Schema{},
		Now: time.Now, Random: rand.Reader, ToolVersion: "bench", TempDir: work})
	return err
}
