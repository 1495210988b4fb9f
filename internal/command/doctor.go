package command

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"rqvault/internal/doctor"
)

// doctorOut is doctor --json.
type doctorOut struct {
	At       time.Time      `json:"at"`
	Redis    string         `json:"redis"`
	OK       bool           `json:"ok"`
	Headline string         `json:"headline"`
	Steps    []doctor.Step  `json:"steps,omitempty"`
	Checks   []doctor.Check `json:"checks"`
}

func (e *env) doctorCommand() *cli.Command {
	return &cli.Command{
		Name:  "doctor",
		Usage: "say what is wrong with Redis and its queues, and what to type next; changes nothing",
		Flags: flags(redisFlags(), storeFlags(), []cli.Flag{
			&cli.StringFlag{Name: "redis-log", Usage: "Redis' log `FILE`, if it is here and Redis does not say so", EnvVars: []string{"RQVAULT_REDIS_LOG"}},
			&cli.DurationFlag{Name: "max-wait", Usage: "how long a job may wait in its queue", Value: 15 * time.Minute, EnvVars: []string{"RQVAULT_MAX_WAIT"}},
			&cli.DurationFlag{Name: "max-age", Usage: "how old the last snapshot, and the last verified one, may be", Value: 24 * time.Hour, EnvVars: []string{"RQVAULT_MAX_AGE"}},
			&cli.BoolFlag{Name: "verbose", Usage: "a line for what is well, too"},
			&cli.BoolFlag{Name: "watch", Usage: "look again and again; in a pipe only changes are printed"},
			&cli.DurationFlag{Name: "every", Usage: "how often to --watch", Value: 2 * time.Second},
		}, outputFlags()),
		Action: e.doctor,
	}
}

func (e *env) doctor(c *cli.Context) error {
	if c.Args().Present() {
		return usage("doctor takes no arguments")
	}
	if c.Bool("watch") && c.Bool("json") {
		return usage("--json does not go with --watch")
	}
	if c.Duration("every") <= 0 {
		return usage("--every takes a time above zero, such as 2s")
	}
	if c.Bool("watch") {
		return e.watchDoctor(c)
	}
	r, err := e.examination(c)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		err = e.printJSON(doctorOut{At: e.now().UTC(), Redis: e.target, OK: r.Findings() == 0, Headline: r.Headline, Steps: r.Steps, Checks: r.Checks})
	} else {
		printReport(e.out, r, c.Bool("verbose"))
	}
	if err == nil && r.Findings() > 0 {
		return errFindings
	}
	return err
}

// examination is one look at everything, with the commands ready to be typed.
func (e *env) examination(c *cli.Context) (*doctor.Report, error) {
	target, err := e.redis(c)
	if err != nil {
		return nil, err
	}
	p := &patient{e: e, c: c, target: target}
	defer p.close()
	f := doctor.Examine(c.Context, p, doctor.Limits{MaxWait: c.Duration("max-wait"), MaxAge: c.Duration("max-age")}, e.now)
	if err := c.Context.Err(); err != nil {
		return nil, context.Cause(c.Context)
	}
	r := doctor.Judge(f)
	for i := range r.Steps {
		r.Steps[i].Command = e.typable(c, p, r.Steps[i].Command)
	}
	for i := range r.Checks {
		r.Checks[i].Next = e.typable(c, p, r.Checks[i].Next)
		r.Checks[i].What = clean(r.Checks[i].What)
	}
	return &r, nil
}

// typable fills in what a command is about.
func (e *env) typable(c *cli.Context, p *patient, command string) string {
	if words := strings.Fields(command); len(words) > 1 && words[0] == "rqvault" {
		return e.again(c, words[1], words[2:]...)
	}
	return strings.NewReplacer("$REDIS", quote(e.target), "$HOST", quote(p.host()), "$ADDR", quote(p.target.Addr)).Replace(command)
}

// printReport writes the headline, what to do, the findings, and what is well.
func printReport(w io.Writer, r *doctor.Report, verbose bool) {
	fmt.Fprintln(w, clean(r.Headline))
	for i, s := range r.Steps {
		fmt.Fprintf(w, "  %d. %s\n     %s\n", i+1, s.Do, s.Command)
	}
	var well []string
	for i, c := range r.Checks {
		if c.Level == doctor.OK && !verbose {
			well = append(well, c.Name)
			continue
		}
		if i == 0 {
			fmt.Fprintln(w)
		}
		printCheck(w, &c)
	}
	if len(well) > 0 {
		fmt.Fprintf(w, "\nok: %s\n", strings.Join(well, ", "))
	}
}

func printCheck(w io.Writer, c *doctor.Check) {
	fmt.Fprintf(w, "%-7s  %-13s  %s\n", strings.ToUpper(string(c.Level)), c.Name, c.What)
	if c.Next != "" {
		fmt.Fprintf(w, "%25snext: %s\n", "", c.Next)
	}
}

// clearScreen moves a terminal's cursor home and clears what is below.
const clearScreen = "\x1b[H\x1b[2J"

// watchDoctor looks until it is interrupted. Its exit code is that of the last look.
func (e *env) watchDoctor(c *cli.Context) error {
	f, isFile := e.out.(*os.File)
	screen := isFile && term.IsTerminal(int(f.Fd()))
	tick := time.NewTicker(c.Duration("every"))
	defer tick.Stop()
	var last *doctor.Report
	for {
		r, err := e.examination(c)
		if err != nil && c.Context.Err() == nil {
			return err
		}
		if err == nil {
			switch {
			case screen:
				fmt.Fprintf(e.out, "%s%s  %s\n", clearScreen, e.now().Format(time.TimeOnly), e.target)
				printReport(e.out, r, c.Bool("verbose"))
			case last == nil:
				printReport(e.out, r, c.Bool("verbose"))
			default:
				printChanges(e.out, last, r, e.now())
			}
			last = r
		}
		select {
		case <-c.Context.Done():
			if last != nil && last.Findings() > 0 {
				return errFindings
			}
			return nil
		case <-tick.C:
		}
	}
}

// printChanges writes the checks that came out otherwise than the last time.
func printChanges(w io.Writer, last, r *doctor.Report, now time.Time) {
	before := map[string]doctor.Level{}
	for _, c := range last.Checks {
		before[c.Name] = c.Level
	}
	if last.Headline != r.Headline {
		fmt.Fprintf(w, "%s %s\n", now.Format(time.TimeOnly), clean(r.Headline))
	}
	for _, c := range r.Checks {
		if was, there := before[c.Name]; there && was != c.Level || !there && c.Level != doctor.OK {
			fmt.Fprintf(w, "%s ", now.Format(time.TimeOnly))
			printCheck(w, &c)
		}
	}
}
