// Package packaging_test checks what carries rqvault to where it runs: packages, units,
// the image, Kubernetes, the release. It is a module of its own, so that the program's
// does not know what these checks lean on.
package packaging_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// root is the repository.
const root = "../.."

func read(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// run returns what a program prints, and fails the test if it fails.
func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Dir = root
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, &out, &errs)
	}
	return out.String()
}

// asRoot is run by root, by way of sudo if need be.
func asRoot(t testing.TB, name string, args ...string) string {
	t.Helper()
	if os.Getuid() == 0 {
		return run(t, name, args...)
	}
	return run(t, "sudo", append([]string{"-n", name}, args...)...)
}
