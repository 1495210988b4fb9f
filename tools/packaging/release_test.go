package packaging_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goreleaser/goreleaser/v2/pkg/config"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// linked is the variable by which a release gets its name.
const linked = "rqvault/internal/command.linked"

// goreleaser reads its file strictly: a key that it does not know is an error.
func TestGoreleaser(t *testing.T) {
	p, err := config.Load(filepath.Join(root, ".goreleaser.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Builds) != 1 {
		t.Fatalf("got %d builds, want 1", len(p.Builds))
	}
	b := p.Builds[0]
	if !slices.Equal(b.Goos, []string{"linux", "darwin"}) || !slices.Equal(b.Goarch, []string{"amd64", "arm64"}) {
		t.Errorf("builds for %v on %v", b.Goos, b.Goarch)
	}
	if !slices.Contains(b.Env, "CGO_ENABLED=0") || !slices.Contains(b.Flags, "-trimpath") || !strings.Contains(strings.Join(b.Ldflags, " "), linked) {
		t.Errorf("not one static program with a name: %v %v %v", b.Env, b.Flags, b.Ldflags)
	}
}

// Linux is built by the tests of the packages.
func TestBuildsForMac(t *testing.T) {
	run(t, "env", "CGO_ENABLED=0", "GOOS=darwin", "GOARCH=arm64", "go", "build", "-o", os.DevNull, ".")
}

// The image is built by a Go that go.mod asks for, and runs a static program as nobody.
func TestDockerfile(t *testing.T) {
	text := read(t, "Dockerfile")
	file, err := parser.Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	var warnings []string
	lint := linter.New(&linter.Config{Warn: func(rule, description, url, short string, _ []parser.Range) {
		warnings = append(warnings, rule+": "+short)
	}})
	stages, _, err := instructions.Parse(file.AST, lint)
	if err != nil {
		t.Fatal(err)
	}
	if len(warnings) > 0 || len(file.Warnings) > 0 {
		t.Errorf("warnings: %q %v", warnings, file.Warnings)
	}
	if len(stages) != 2 {
		t.Fatalf("got %d stages, want 2", len(stages))
	}
	mod := read(t, "go.mod")
	_, version, _ := strings.Cut(mod, "\ngo ")
	version, _, _ = strings.Cut(version, "\n")
	if want := "golang:" + version + "-"; !strings.HasPrefix(stages[0].BaseName, want) {
		t.Errorf("built with %s, go.mod asks for %s", stages[0].BaseName, version)
	}
	if !strings.HasPrefix(stages[1].BaseName, "gcr.io/distroless/static") {
		t.Errorf("runs on %s", stages[1].BaseName)
	}
	if !strings.Contains(text, linked) {
		t.Errorf("a release has no name: %s is not set", linked)
	}
	var user string
	for _, c := range stages[1].Commands {
		switch c := c.(type) {
		case *instructions.UserCommand:
			user = c.User
		case *instructions.EntrypointCommand:
			if c.PrependShell || !slices.Equal(c.CmdLine, []string{"/usr/bin/rqvault"}) {
				t.Errorf("entrypoint %v, in a shell: %v; there is none", c.CmdLine, c.PrependShell)
			}
		}
	}
	if user != "65532:65532" { // a number, or Kubernetes cannot tell that it is not root
		t.Errorf("runs as %q", user)
	}
}
