package packaging_test

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

// version is what the packages of the tests are called.
const version = "1.2.3-rc.1"

// dist is where the tests build packages.
var (
	dist string
	made sync.Once
)

// packages builds the deb and the rpm for this machine, once for all tests, and returns
// the directory they are in.
func packages(t *testing.T) string {
	t.Helper()
	made.Do(func() { run(t, "make", "packages", "DIST="+dist, "VERSION="+version, "ARCHES="+runtime.GOARCH) })
	return dist
}

func TestMain(m *testing.M) {
	os.Exit(inTempDir(m))
}

func inTempDir(m *testing.M) int {
	dir, err := os.MkdirTemp("", "rqvault-packages-")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	dist = dir
	return m.Run()
}

// one returns the only file that fits a pattern.
func one(t testing.TB, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) != 1 {
		t.Fatalf("%s: got %q, %v; want one", pattern, found, err)
	}
	return found[0]
}

// TestDeb installs the deb in a clean Debian, without asking it what it thinks of it: see
// testdata/installed.sh, which runs in there, with a process table of its own.
func TestDeb(t *testing.T) {
	deb := one(t, packages(t)+"/*.deb")
	machine := strings.TrimSpace(asRoot(t, "mktemp", "-d", "/tmp/rqvault-root-XXXXXX"))
	t.Cleanup(func() { asRoot(t, "rm", "-rf", "--one-file-system", machine) })
	clean := ".bin/bookworm.tar"
	if _, err := os.Stat(filepath.Join(root, clean)); err != nil {
		t.Fatalf("%v: tools/setup.sh test-packages makes it", err)
	}
	asRoot(t, "tar", "-C", machine, "-xpf", clean)
	asRoot(t, "cp", deb, machine+"/rqvault.deb")
	asRoot(t, "cp", "tools/packaging/testdata/installed.sh", machine+"/installed.sh")
	t.Log(asRoot(t, "unshare", "--mount", "--pid", "--fork", "--kill-child", "chroot", machine, "/bin/bash", "/installed.sh", "v"+version))
}

// TestRPM looks into the rpm: it holds what the deb holds, and its services are as idle.
func TestRPM(t *testing.T) {
	dir := packages(t)
	rpm, deb := one(t, dir+"/*.rpm"), one(t, dir+"/*.deb")
	var fromDeb []string
	for line := range strings.Lines(run(t, "dpkg-deb", "--contents", deb)) {
		fields := strings.Fields(line)
		path := strings.TrimPrefix(fields[len(fields)-1], ".")
		if !strings.HasSuffix(path, "/") {
			fromDeb = append(fromDeb, strings.Replace(path, "zsh/vendor-completions", "zsh/site-functions", 1))
		}
	}
	fromRPM := strings.Fields(run(t, "rpm", "-qpl", rpm))
	slices.Sort(fromDeb)
	slices.Sort(fromRPM)
	if !slices.Equal(fromDeb, fromRPM) {
		t.Errorf("the deb has\n%s\nthe rpm has\n%s", strings.Join(fromDeb, "\n"), strings.Join(fromRPM, "\n"))
	}
	if got, want := strings.Fields(run(t, "rpm", "-qp", "--configfiles", rpm)), []string{"/etc/rqvault/rqvault.env", "/etc/rqvault/rqvault.yml"}; !slices.Equal(got, want) {
		t.Errorf("configuration files: got %q, want %q", got, want)
	}
	run(t, "rpm", "-K", "--nosignature", rpm)
	if requires := run(t, "rpm", "-qp", "--requires", rpm); !strings.Contains(requires, "systemd") {
		t.Errorf("requires %q", requires)
	}
	if scripts := run(t, "rpm", "-qp", "--scripts", rpm); !strings.Contains(scripts, "systemd-sysusers") || strings.Contains(scripts, "systemctl enable") || strings.Contains(scripts, "systemctl start") {
		t.Errorf("scripts:\n%s", scripts)
	}
}

// The three services are locked in by the same words: what is allowed to one, and why,
// stands once.
func TestUnitsAreLockedInAlike(t *testing.T) {
	var first string
	for _, name := range []string{"rqvault.service", "rqvault-backup.service", "rqvault-verify.service"} {
		text := read(t, "deploy/systemd/"+name)
		at := strings.Index(text, "\nUser=")
		if at < 0 {
			t.Fatalf("%s has no user", name)
		}
		words, _, _ := strings.Cut(text[at:], "\n[")
		words = strings.TrimSpace(words)
		if first == "" {
			first = words
		}
		if words != first {
			t.Errorf("%s differs from rqvault.service from User= on", name)
		}
	}
}
