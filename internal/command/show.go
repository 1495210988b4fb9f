package command

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"rqvault/internal/snapshot"
	"rqvault/restore"
)

func (e *env) showCommand() *cli.Command {
	return &cli.Command{
		Name:      "show",
		Usage:     "what a snapshot holds, or what a plan would do",
		ArgsUsage: "[SNAPSHOT | plan.json]",
		Flags: flags(storeFlags(), keyFlags(), []cli.Flag{
			&cli.BoolFlag{Name: "evidence", Usage: "of a plan: show what each verdict rests on"},
			&cli.StringFlag{Name: "beside", Usage: "write the document of that `NAME` that is stored beside the snapshot, as the daemon's plan.json, and nothing else"},
		}, outputFlags()),
		Action: e.show,
	}
}

func (e *env) show(c *cli.Context) error {
	if name := c.Args().First(); strings.HasSuffix(name, ".json") {
		return e.showPlan(c, name)
	}
	if name := c.Args().First(); name != "" && isFile(name) {
		return usage("%s is neither a snapshot nor a plan; plans end in .json", quote(name))
	}
	cat, m, err := e.pick(c)
	if err != nil {
		return err
	}
	if errors.Is(m.Locked(), snapshot.ErrWrongKey) {
		return m.Locked()
	}
	if c.IsSet("beside") {
		return e.writeBeside(c, cat, m.ID)
	}
	if c.Bool("json") {
		return e.printJSON(m)
	}
	e.printManifest(m)
	if err := e.printBeside(c, cat, m.ID); err != nil {
		return err
	}
	return e.printLastDrill(c, cat, m)
}

func (e *env) printManifest(m *snapshot.Manifest) {
	atomic := "one instant"
	if !m.Atomic {
		atomic = "key by key, not one instant"
	}
	fmt.Fprintf(e.out, "snapshot  %s of %s\n", m.ID, m.Source)
	fmt.Fprintf(e.out, "taken     %s (%s ago), by %s: %s\n", m.CreatedAt.Format(time.RFC3339), age(e.now().Sub(m.CreatedAt)), m.Via, atomic)
	fmt.Fprintf(e.out, "way       %s\n", clean(m.ViaReason))
	f := m.Lineage.Before
	fmt.Fprintf(e.out, "server    %s %s, run id %.12s, up %s\n", f.Server, f.Version, f.RunID, age(time.Duration(f.UptimeSeconds)*time.Second))
	fmt.Fprintf(e.out, "dump      %s, %s, checksum %s\n", m.Dump.Format, size(m.Dump.Size), m.Dump.Checksum)
	fmt.Fprintf(e.out, "holds     %s, %s\n", plural(m.Counts.Keys, "key"), plural(m.Counts.Jobs, "job"))
	how := "not encrypted"
	if m.Encryption != nil {
		how = fmt.Sprintf("encrypted with the key of epoch %d", m.Encryption.Epoch)
	}
	fmt.Fprintf(e.out, "stored    %s by rqvault %s, %s\n\n", size(m.StoredSize()), m.ToolVersion, how)
	if m.Locked() != nil {
		fmt.Fprint(e.out, "queues    encrypted: name an operator's identity with --identity FILE\n\n")
	} else {
		e.printQueues(m)
	}
	o := newTable(e.out, "OBJECT", "SIZE", "SHA-256")
	for _, s := range m.Objects {
		o.row(s.Name, s.Size, s.SHA256)
	}
	_ = o.flush()
	e.warn(m.Warnings)
}

func (e *env) printQueues(m *snapshot.Manifest) {
	t := newTable(e.out, "QUEUE", "STATUS", "JOBS")
	for _, q := range slices.Sorted(maps.Keys(m.Counts.Queues)) {
		for _, s := range slices.Sorted(maps.Keys(m.Counts.Queues[q])) {
			t.row(q, s, m.Counts.Queues[q][s])
		}
	}
	_ = t.flush()
	fmt.Fprintln(e.out)
}

func (e *env) showPlan(c *cli.Context, name string) error {
	p, err := readPlan(name)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return e.printJSON(p)
	}
	fmt.Fprintf(e.out, "plan of %s from snapshot %s, policy %s\n", p.CreatedAt.Format(time.RFC3339), p.Snapshot, p.Policy)
	e.printLineage(p.Lineage)
	e.printSteps(p, evident(c))
	if len(p.Steps) > 0 {
		fmt.Fprintf(e.out, "next: %s\n", e.againPlan(c, name))
	}
	return nil
}

func isFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular()
}

func readPlan(name string) (*restore.Plan, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, usage("read the plan: %v", err)
	}
	p, err := restore.ParsePlan(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return p, nil
}
