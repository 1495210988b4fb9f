package command

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"rqvault/internal/secret"
)

// plainWord is what a shell takes as it stands.
var plainWord = regexp.MustCompile(`^[A-Za-z0-9@%+=:,./_-]+$`)

// again writes a command line that goes on from this one: the flags that were typed and
// that the next command knows too, so that it can be pasted as it is. A password in a
// URL is left out.
func (e *env) again(c *cli.Context, command string, words ...string) string {
	line := []string{"rqvault", command}
	for _, w := range words {
		line = append(line, quote(w))
	}
	cmd := c.App.Command(command)
	if cmd == nil {
		return strings.Join(line, " ")
	}
	for _, f := range cmd.Flags {
		name := f.Names()[0]
		if !typed(e.args, f.Names()) {
			continue
		}
		switch f := f.(type) {
		case *cli.StringSliceFlag:
			for _, v := range c.StringSlice(name) {
				line = append(line, "--"+name, quote(v))
			}
		case *cli.StringFlag:
			if isSecret(name) {
				line = append(line, "--"+name+" …")
				continue
			}
			if !slices.Contains([]string{"out", "plan", "report"}, name) {
				line = append(line, "--"+name, quote(secret.WithoutPassword(c.String(f.Name))))
			}
		case *cli.BoolFlag:
			if slices.Contains([]string{"extend-ttl", "suspend", "replace-all", "mask"}, name) {
				line = append(line, "--"+name)
			}
		case *cli.IntFlag:
			line = append(line, "--"+name, strconv.Itoa(c.Int(name)))
		case *cli.DurationFlag:
			line = append(line, "--"+name, c.Duration(name).String())
		}
	}
	return strings.Join(line, " ")
}

// againPlan writes the command line that carries out a plan.
func (e *env) againPlan(c *cli.Context, plan string) string {
	return "rqvault restore --plan " + quote(plan) + " --apply" + e.reach(c)
}

// configured writes the flag that was typed to name the configuration.
func (e *env) configured(c *cli.Context) string {
	if !typed(e.args, []string{"config"}) {
		return ""
	}
	return " --config " + quote(c.String("config"))
}

// where writes the flags that were typed to say which Redis and which store.
func (e *env) where(c *cli.Context) string {
	line := ""
	for _, name := range []string{"config", "redis", "store", "source"} {
		if typed(e.args, []string{name}) {
			line += " --" + name + " " + quote(secret.WithoutPassword(c.String(name)))
		}
	}
	return line
}

// reach writes those, and the ones that say how to open what is stored.
func (e *env) reach(c *cli.Context) string {
	line := e.where(c)
	for _, name := range []string{"identity", "verify-key"} {
		for _, path := range c.StringSlice(name) {
			if typed(e.args, []string{name}) {
				line += " --" + name + " " + quote(path)
			}
		}
	}
	if typed(e.args, []string{"passphrase-file"}) {
		line += " --passphrase-file " + quote(c.String("passphrase-file"))
	}
	return line
}

// typed reports whether a flag of one of these names stands on the command line.
func typed(args, names []string) bool {
	for _, arg := range args {
		word, _, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		for _, n := range names {
			if strings.HasPrefix(arg, "-") && word == n {
				return true
			}
		}
	}
	return false
}

func quote(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(clean(s), "'", `'\''`) + "'"
}

// isSecret reports whether a flag's value must never be printed.
func isSecret(name string) bool { return strings.HasSuffix(name, "-password") }
