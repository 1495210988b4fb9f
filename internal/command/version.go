package command

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/urfave/cli/v2"
)

// linked is set by the linker for releases: -X rqvault/internal/command.linked=v1.2.3.
var linked string

// buildOut is what version --json prints.
type buildOut struct {
	Version  string `json:"version"`
	Commit   string `json:"commit"` // "" where the build did not know it
	Date     string `json:"date"`   // of the commit, RFC 3339; "" likewise
	Modified bool   `json:"modified"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// build returns what this program knows of its own making.
func build() buildOut {
	b := buildOut{Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				b.Commit = s.Value
			case "vcs.time":
				b.Date = s.Value
			case "vcs.modified":
				b.Modified = s.Value == "true"
			}
		}
	}
	b.Version = cmp.Or(linked, b.commitName())
	return b
}

// commitName is the version of a build that is no release.
func (b *buildOut) commitName() string {
	v := "development"
	if len(b.Commit) >= 12 {
		v += "-" + b.Commit[:12]
	}
	if b.Modified {
		v += "+changes"
	}
	return v
}

// version is the release's name, or what the build knows of its commit.
func version() string { return build().Version }

func (e *env) versionCommand() *cli.Command {
	return &cli.Command{
		Name:  "version",
		Usage: "print the version, and what it was built from",
		Flags: []cli.Flag{&cli.BoolFlag{Name: "json", Usage: "print one JSON document instead of text", EnvVars: []string{"RQVAULT_JSON"}}},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usage("version takes no arguments")
			}
			b := build()
			if c.Bool("json") {
				return e.printJSON(b)
			}
			made := ""
			if len(b.Commit) >= 12 {
				made = fmt.Sprintf("commit %s of %s, ", b.Commit[:12], b.Date)
			}
			fmt.Fprintf(e.out, "rqvault %s (%s%s, %s)\n", b.Version, made, b.Go, b.Platform)
			return nil
		},
	}
}
