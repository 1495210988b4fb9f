package command

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"rqvault/internal/config"
	"rqvault/internal/live"
)

// configPath is read where neither --config nor RQVAULT_CONFIG names another file.
const configPath = "/etc/rqvault/rqvault.yml"

func configFlag() cli.Flag {
	return &cli.StringFlag{Name: "config", Usage: "`FILE` that names sources and stores", EnvVars: []string{"RQVAULT_CONFIG"}, DefaultText: configPath + ", if it is there"}
}

// configuration reads the file that the command line names, or the one at the usual place;
// nil if there is none.
func (e *env) configuration(c *cli.Context) (*config.Config, error) {
	name, asked := c.String("config"), true
	if name == "" {
		name, asked = configPath, false
	}
	system := config.System()
	system.Redis = func(url string) error {
		_, err := live.ParseURL(url)
		return err
	}
	system.Store = checkStore
	cfg, err := config.Load(name, system)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !asked:
		return nil, nil
	case errors.Is(err, fs.ErrPermission) && !asked: // it is for the daemon, which runs as another user
		return nil, nil
	case errors.Is(err, config.ErrInvalid):
		return nil, fmt.Errorf("%s: %w", name, err)
	case err != nil:
		return nil, usage("--config: %v", err)
	}
	return cfg, nil
}

// configure gives a command what the configuration says, where neither a flag nor its
// variable does.
func (e *env) configure(c *cli.Context) error {
	has := func(name string) bool {
		return slices.ContainsFunc(c.Command.Flags, func(f cli.Flag) bool { return slices.Contains(f.Names(), name) })
	}
	if !has("config") {
		return nil
	}
	if c.String("config") == "" && c.IsSet("store") && (c.IsSet("redis") || !has("redis")) {
		return nil // all is said
	}
	cfg, err := e.configuration(c)
	if err != nil || cfg == nil {
		return err
	}
	wanted := ""
	if c.IsSet("source") {
		wanted = c.String("source")
	}
	if c.Command.Name == "snapshots" && wanted == "" && len(cfg.Sources) > 1 && len(cfg.Stores) == 1 {
		for _, s := range cfg.Stores { // it lists all of them
			return c.Set("store", s.URL)
		}
	}
	name, source, err := cfg.Pick(wanted)
	if err != nil {
		return usage("%v", err)
	}
	values := settings(cfg, name, source, c.Command.Name)
	if c.IsSet("redis") {
		delete(values, "redis-password") // it is another server's
	}
	for _, flag := range slices.Sorted(maps.Keys(values)) {
		if !has(flag) || c.IsSet(flag) || c.IsSet(flag+"-file") {
			continue
		}
		for _, v := range values[flag] {
			if err := c.Set(flag, v); err != nil {
				return fmt.Errorf("the configuration's %s: %w", flag, err)
			}
		}
	}
	return nil
}

// settings are the flags by which a command is told what the configuration says.
func settings(cfg *config.Config, name string, s *config.Source, command string) map[string][]string {
	v := map[string][]string{
		"source": {name}, "store": {cfg.Stores[s.Store].URL}, "redis": {s.Redis}, "save-timeout": {s.SaveTimeout.String()},
		"patience": {s.Patience.String()}, "policy": {s.Policy},
	}
	set := func(flag, value string) {
		if value != "" && value != "0" && value != "0s" && value != "false" {
			v[flag] = []string{value}
		}
	}
	for _, q := range slices.Sorted(maps.Keys(s.Policies)) {
		v["policy"] = append(v["policy"], q+"="+s.Policies[q])
	}
	if command == "backup" {
		set("via", s.Via)
	}
	if command == "drill" {
		set("into", s.Schedule.DrillInto)
	}
	if len(s.Identities) > 0 {
		v["identity"] = s.Identities
	}
	if len(s.VerifyKeys) > 0 {
		v["verify-key"] = s.VerifyKeys
	}
	set("passphrase-file", s.Passphrase)
	set("sign-key", s.SignKey)
	set("redis-password", s.RedisPassword)
	set("dump-dir", s.DumpDir)
	set("temp-dir", s.TempDir)
	set("limit-rate", s.LimitRate)
	set("started", s.Started)
	set("extend-ttl", strconv.FormatBool(s.ExtendTTL))
	set("resume-rate", strconv.Itoa(s.ResumeRate))
	set("max-queue-depth", strconv.Itoa(s.MaxQueueDepth))
	for flag, n := range map[string]int{"keep-last": s.Keep.Last, "keep-hourly": s.Keep.Hourly, "keep-daily": s.Keep.Daily,
		"keep-weekly": s.Keep.Weekly, "keep-monthly": s.Keep.Monthly, "keep-yearly": s.Keep.Yearly} {
		set(flag, strconv.Itoa(n))
	}
	set("keep-within", s.Keep.Within.String())
	return v
}

func (e *env) configCommand() *cli.Command {
	sub := func(name, about string, action func(c *cli.Context, cfg *config.Config) error) *cli.Command {
		return &cli.Command{Name: name, Usage: about, Flags: flags([]cli.Flag{configFlag()}, outputFlags()),
			Action: func(c *cli.Context) error {
				if c.Args().Present() {
					return usage("config %s takes no arguments", name)
				}
				cfg, err := e.configuration(c)
				if err != nil {
					return err
				}
				if cfg == nil {
					return usage("there is no %s: name a file with --config", configPath)
				}
				return action(c, cfg)
			}}
	}
	plain := func(name, about string, text func() ([]byte, error)) *cli.Command {
		return &cli.Command{Name: name, Usage: about, Action: func(*cli.Context) error {
			b, err := text()
			if err == nil {
				fmt.Fprintln(e.out, strings.TrimSuffix(string(b), "\n"))
			}
			return err
		}}
	}
	return &cli.Command{
		Name:  "config",
		Usage: "look at rqvault.yml: print what is in force, check it, or print a default",
		Subcommands: []*cli.Command{
			sub("print", "print what is in force, defaults and variables included, without secrets", e.printConfig),
			sub("check", "read the file, and reach everything that it names", e.checkConfig),
			plain("default", "print a commented file to begin with", func() ([]byte, error) { return []byte(config.Default()), nil }),
			plain("schema", "print a JSON Schema for editors", config.Schema),
		},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return noSubcommand(c.Command, c.Args().First())
			}
			return usage("say which: rqvault config print, check, default or schema")
		},
	}
}

func (e *env) printConfig(c *cli.Context, cfg *config.Config) error {
	if !c.Bool("json") {
		fmt.Fprint(e.out, cfg.Print())
		return nil
	}
	b, err := cfg.JSON()
	if err == nil {
		fmt.Fprintln(e.out, string(b))
	}
	return err
}
