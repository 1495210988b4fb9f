package command

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
)

func (e *env) manCommand() *cli.Command {
	return &cli.Command{
		Name:  "man",
		Usage: "print the manual page: rqvault man | man -l -",
		// The library gives a command that runs a help of its own; the page would show it.
		HideHelpCommand: true,
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usage("man takes no arguments")
			}
			b := build()
			date, _, _ := strings.Cut(b.Date, "T")
			p := &page{shared: sharedFlags(c.App.Commands)}
			p.write(c.App, b.Version, cmp.Or(date, e.now().UTC().Format("2006-01-02")))
			_, err := fmt.Fprint(e.out, p.text.String())
			return err
		},
	}
}

// page is the manual page, written from the commands themselves, in the macros of man(7).
type page struct {
	text   strings.Builder
	shared []docFlag
}

// manyCommands is from how many commands on a flag is explained once for all.
const manyCommands = 3

// sharedFlags returns the flags that mean the same in many commands.
func sharedFlags(commands []*cli.Command) []docFlag {
	var order []docFlag
	count := map[string]int{}
	for _, cmd := range commands {
		for _, f := range docFlags(cmd) {
			key := flagKey(f)
			if count[key]++; count[key] == manyCommands {
				order = append(order, f)
			}
		}
	}
	return order
}

func flagKey(f docFlag) string { return f.Names()[0] + "\n" + f.GetUsage() }

func (p *page) isShared(f docFlag) bool {
	for _, s := range p.shared {
		if flagKey(s) == flagKey(f) {
			return true
		}
	}
	return false
}

// roff escapes text: what stands in it stays what it is.
func roff(text string) string {
	return strings.NewReplacer(`\`, `\e`, "-", `\-`, "…", "...").Replace(text)
}

func bold(text string) string { return `\fB` + roff(text) + `\fR` }

func italic(text string) string { return `\fI` + roff(text) + `\fR` }

// line writes one line that is roff already: a macro.
func (p *page) line(parts ...string) { p.text.WriteString(strings.Join(parts, " ") + "\n") }

// pageWidth is how long a line of text may be in the page's source.
const pageWidth = 78

// words writes text that is roff already, in lines of a bearable length.
func (p *page) words(text string) {
	n := 0
	for word := range strings.FieldsSeq(text) {
		switch {
		case n > 0 && n+1+len(word) > pageWidth:
			p.text.WriteByte('\n')
			n = 0
		case n > 0:
			p.text.WriteByte(' ')
			n++
		}
		if n == 0 && (word[0] == '.' || word[0] == '\'') {
			word = `\&` + word // it would be a macro
		}
		p.text.WriteString(word)
		n += len(word)
	}
	p.text.WriteByte('\n')
}

func (p *page) section(title string) { p.line(".SH", title) }

// term writes what is explained, and its explanation.
func (p *page) term(term, meaning string) {
	p.line(".TP")
	p.line(term)
	p.words(roff(meaning))
}

func (p *page) write(app *cli.App, version, date string) {
	p.line(`.\" Written by rqvault man from the commands themselves.`)
	p.line(".TH RQVAULT 1", date, fmt.Sprintf("%q", roff(app.Name+" "+version)), `"User Commands"`)
	p.section("NAME")
	p.line(app.Name, `\-`, roff(app.Usage))
	p.section("SYNOPSIS")
	p.line(bold(app.Name), italic("COMMAND"), "["+italic("FLAGS")+"]", "["+italic("ARGUMENT")+"]")
	p.section("DESCRIPTION")
	for i, text := range description {
		if i > 0 {
			p.line(".PP")
		}
		p.words(roff(text))
	}
	p.section("COMMANDS")
	for _, cmd := range app.Commands {
		p.command(app.Name, cmd)
	}
	p.section(`"COMMON FLAGS"`)
	for _, f := range p.shared {
		p.flag(f)
	}
	p.section(`"EXIT STATUS"`)
	for _, s := range exitMeanings {
		p.term(bold(fmt.Sprint(s.code)), s.meaning)
	}
	p.section("FILES")
	for _, f := range files {
		p.term(italic(f[0]), f[1])
	}
	p.section("EXAMPLES")
	for _, x := range examples {
		p.line(".TP")
		p.line(bold(x[0]))
		p.words(roff(x[1]))
	}
	p.section(`"SEE ALSO"`)
	p.line(".BR redis\\-server (1),")
	p.line(".BR zstd (1)")
}

func (p *page) command(path string, cmd *cli.Command) {
	if cmd.Hidden || cmd.Name == "help" {
		return
	}
	path += " " + cmd.Name
	if len(cmd.Subcommands) > 0 {
		for _, sub := range cmd.Subcommands {
			p.command(path, sub)
		}
		return
	}
	p.line(".SS", fmt.Sprintf("%q", roff(strings.TrimSpace(path+" "+cmd.ArgsUsage))))
	p.words(roff(strings.ToUpper(cmd.Usage[:1]) + cmd.Usage[1:] + "."))
	var common []string
	for _, f := range docFlags(cmd) {
		if p.isShared(f) {
			common = append(common, bold("--"+f.Names()[0]))
			continue
		}
		p.flag(f)
	}
	if len(common) > 0 {
		p.line(".PP")
		p.words("Common flags: " + strings.Join(common, ", ") + ".")
	}
}

func (p *page) flag(f docFlag) {
	usage := f.GetUsage()
	value := ""
	if f.TakesValue() {
		value = cmp.Or(quoted(usage), "VALUE")
	}
	var names []string
	for _, n := range f.Names() {
		dashes := "--"
		if len(n) == 1 {
			dashes = "-"
		}
		names = append(names, bold(dashes+n))
	}
	term := strings.Join(names, ", ")
	if value != "" {
		term += " " + italic(value)
	}
	text := strings.ReplaceAll(usage, "`", "") + "."
	if d := f.GetDefaultText(); f.TakesValue() && d != "" && d != "0" && d != "none" {
		text += " Default: " + strings.Trim(d, `"`) + "."
	}
	if vars := f.GetEnvVars(); len(vars) > 0 {
		text += " Variable: " + strings.Join(vars, ", ") + "."
	}
	p.term(term, strings.ToUpper(text[:1])+text[1:])
}

// quoted returns the part of a flag's usage that names its value: what `stands so`.
func quoted(usage string) string {
	_, rest, _ := strings.Cut(usage, "`")
	value, _, ok := strings.Cut(rest, "`")
	if !ok {
		return ""
	}
	return value
}
