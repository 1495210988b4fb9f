package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"rqvault/internal/job"
	"rqvault/internal/lineage"
	"rqvault/internal/live"
	"rqvault/internal/niceness"
	"rqvault/internal/pace"
	"rqvault/internal/rq"
	"rqvault/internal/secret"
	"rqvault/internal/snapshot"
	"rqvault/internal/source"
	"rqvault/internal/store/dir"
	"rqvault/internal/store/s3"
	"rqvault/restore"
	"rqvault/verify"
)

// env is what one run of the program works with.
type env struct {
	ctx    context.Context
	args   []string // the command line
	target string   // the Redis that was dialled, as a URL without its password
	// storeUnset says that nobody named the store, so that the default was tried.
	storeUnset bool
	out, err   io.Writer
	bar        *bar
	phases     *phases // where the daemon wants to know what a backup spends its time on
	schema     rq.Schema
	giveWay    func(niceness int) // lets other processes go first
	waits      bool               // goLater was called
	// beside says that other command lines run in this process at the same time.
	beside bool
}

func (e *env) now() time.Time { return time.Now() }

// Flags that several commands share. Each has one environment variable.

func redisFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "redis", Usage: "Redis `URL`: redis://, rediss://, unix:// or redis+sentinel://", Value: "redis://localhost:6379/0", EnvVars: []string{"RQVAULT_REDIS"}},
		&cli.StringFlag{Name: "redis-password", Usage: "password, where it should not stand in the URL", EnvVars: []string{"RQVAULT_REDIS_PASSWORD"}, DefaultText: "none"},
		&cli.StringFlag{Name: "redis-password-file", Usage: "`FILE` that holds the password", EnvVars: []string{"RQVAULT_REDIS_PASSWORD_FILE"}},
	}
}

func storeFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "store", Usage: "where snapshots are: a directory, file:///path or s3://bucket/prefix?endpoint=…&region=…", Value: "./rqvault-data", EnvVars: []string{"RQVAULT_STORE"}},
		configFlag(),
		&cli.StringFlag{Name: "source", Usage: "`NAME` under which a server's snapshots are kept", Value: "default", EnvVars: []string{"RQVAULT_SOURCE"}},
	}
}

func outputFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "json", Usage: "print one JSON document instead of text", EnvVars: []string{"RQVAULT_JSON"}},
		&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "no progress", EnvVars: []string{"RQVAULT_QUIET"}},
	}
}

func flags(groups ...[]cli.Flag) []cli.Flag {
	var all []cli.Flag
	for _, g := range groups {
		all = append(all, g...)
	}
	return all
}

// store opens what --store names.
func (e *env) store(c *cli.Context) (snapshot.Store, error) {
	e.storeUnset = !c.IsSet("store")
	return openStore(c.Context, c.String("store"))
}

func openStore(ctx context.Context, name string) (snapshot.Store, error) {
	if err := checkStore(name); err != nil {
		return nil, usage("--store: %v", err)
	}
	if strings.HasPrefix(name, "s3://") {
		o, err := s3.ParseURL(name)
		if err != nil {
			return nil, err
		}
		return s3.Open(ctx, o)
	}
	path, err := filepath.Abs(strings.TrimPrefix(name, "file://"))
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", name, err)
	}
	return dir.Open(path)
}

// checkStore says what is wrong with a store's name; nothing is opened.
func checkStore(name string) error {
	rest, isFile := strings.CutPrefix(name, "file://")
	switch {
	case strings.HasPrefix(name, "s3://"):
		_, err := s3.ParseURL(name)
		return err
	case isFile && !filepath.IsAbs(rest):
		return errors.New("file:// takes an absolute path, such as file:///var/lib/rqvault")
	case !isFile && strings.Contains(name, "://"):
		return fmt.Errorf("%s: use a directory, file:///path or s3://bucket/prefix", secret.WithoutPassword(name))
	case name == "":
		return errors.New("it is empty: use a directory, file:///path or s3://bucket/prefix")
	}
	return nil
}

func (e *env) catalog(c *cli.Context) (*snapshot.Catalog, error) {
	if err := snapshot.ValidSource(c.String("source")); err != nil {
		return nil, usage("--%v", err)
	}
	s, err := e.store(c)
	if err != nil {
		return nil, err
	}
	cat, err := snapshot.NewCatalog(s, c.String("source"))
	if err != nil {
		return nil, err
	}
	return e.keyed(c, cat)
}

// pick finds the snapshot named by the command's argument, "latest" without one.
func (e *env) pick(c *cli.Context) (*snapshot.Catalog, *snapshot.Manifest, error) {
	if c.NArg() > 1 {
		return nil, nil, usage("one snapshot at most, not %s", strings.Join(c.Args().Slice(), " "))
	}
	cat, err := e.catalog(c)
	if err != nil {
		return nil, nil, err
	}
	m, err := e.find(c.Context, cat, c.Args().First())
	return cat, m, err
}

func (e *env) find(ctx context.Context, cat *snapshot.Catalog, ref string) (*snapshot.Manifest, error) {
	id, err := cat.Resolve(ctx, ref)
	if err != nil {
		return nil, e.explainMissing(ctx, cat, ref, err)
	}
	m, err := cat.Manifest(ctx, id)
	if errors.Is(err, snapshot.ErrNoSnapshot) && (ref == "" || ref == "latest") {
		return e.newestReal(ctx, cat, id, err)
	}
	return m, err
}

// newestReal is for a listed snapshot whose manifest somebody removed: it is none.
func (e *env) newestReal(ctx context.Context, cat *snapshot.Catalog, gone snapshot.ID, cause error) (*snapshot.Manifest, error) {
	ids, err := cat.IDs(ctx)
	if err != nil {
		return nil, err
	}
	for _, id := range slices.Backward(ids) {
		m, err := cat.Manifest(ctx, id)
		if errors.Is(err, snapshot.ErrNoSnapshot) {
			continue
		}
		if err == nil {
			e.warn([]string{fmt.Sprintf("%s is listed but its manifest is gone: taking %s instead. rqvault snapshots --rescan puts the list right", gone, id)})
		}
		return m, err
	}
	return nil, cause
}

// explainMissing adds what there is instead of a snapshot that is not there.
func (e *env) explainMissing(ctx context.Context, cat *snapshot.Catalog, ref string, err error) error {
	if !errors.Is(err, snapshot.ErrNoSnapshot) {
		return err
	}
	there, listErr := snapshot.Sources(ctx, cat.Store())
	switch {
	case listErr == nil && len(there) > 0 && !slices.Contains(there, cat.Source()):
		return fmt.Errorf("%w of source %s in %s: there are sources %s", snapshot.ErrNoSnapshot, cat.Source(), cat.Store(), strings.Join(there, ", "))
	case slices.Contains([]string{"apply", "all", "json", "quiet"}, ref):
		return &advice{err, "a flag begins with two dashes: --" + ref}
	}
	return fmt.Errorf("%w (source %s in %s)", err, cat.Source(), cat.Store())
}

// dial connects to what --redis names; with readOnly nothing but reading commands can
// leave this process.
func (e *env) dial(c *cli.Context, readOnly bool) (*live.Server, error) {
	t, err := e.redis(c)
	if err != nil {
		return nil, err
	}
	limit, err := e.limit(c)
	if err != nil {
		return nil, err
	}
	return live.Dial(c.Context, t, live.Options{ReadOnly: readOnly, Limit: limit, Crowded: e.crowded})
}

// goLater lets other processes go first, and by far where others keep Redis busy: what only
// reads can wait.
func (e *env) goLater() {
	e.waits = true
	e.giveWay(niceness.Polite)
}

// crowded is called where others keep Redis busy.
func (e *env) crowded() {
	if e.waits {
		e.giveWay(niceness.Last)
	}
}

// limit is what --limit-rate says, for all that goes between this program and Redis.
func (e *env) limit(c *cli.Context) (*pace.Limit, error) {
	rate, err := pace.Parse(c.String("limit-rate"))
	if err != nil {
		return nil, usage("--limit-rate: %v", err)
	}
	return pace.New(rate, e.now, time.Sleep), nil
}

// redis reads what --redis and its password name.
func (e *env) redis(c *cli.Context) (live.Target, error) {
	t, err := live.ParseURL(c.String("redis"))
	if err != nil {
		return t, usage("--redis: %v", err)
	}
	password, err := secretFlag(c, "redis-password")
	if err != nil {
		return t, err
	}
	t = t.WithPassword(password)
	e.target = t.String()
	return t, nil
}

// secretFlag reads a flag that may stand in a file instead.
func secretFlag(c *cli.Context, name string) (string, error) {
	path := c.String(name + "-file")
	if path == "" {
		return c.String(name), nil
	}
	if c.String(name) != "" {
		return "", usage("--%s and --%s-file are both given", name, name)
	}
	text, err := secret.ReadLine(path)
	if err != nil {
		return "", usage("--%s-file: %v", name, err)
	}
	return text, nil
}

// printJSON writes the one document of a command.
func (e *env) printJSON(v any) error {
	enc := json.NewEncoder(e.out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// liveRedis is a running server in the words of verify and restore.
type liveRedis struct {
	s       *live.Server
	schema  job.Schema
	image   source.ImageOptions
	since   time.Time // the instant of the snapshot
	dbs     []int     // databases the snapshot holds
	mu      sync.Mutex
	scripts map[string]*live.Script
	signed  map[verify.JobKey]bool // as Restored last returned it
	settled *verify.Settled        // likewise
}

var (
	_ verify.Live   = (*liveRedis)(nil)
	_ restore.Redis = (*liveRedis)(nil)
)

// liveRedis reads a server's jobs in the way that the command line names.
func (e *env) liveRedis(c *cli.Context, server *live.Server) *liveRedis {
	r := &liveRedis{s: server, schema: e.schema, scripts: map[string]*live.Script{}}
	r.image = source.ImageOptions{
		Options: source.Options{Server: server, Limit: server.Limit(), Schema: e.schema, Via: c.String("via"), DumpDir: c.String("dump-dir"), Timeout: c.Duration("save-timeout")},
		TempDir: c.String("temp-dir"), Seen: func(n int64) { e.bar.begun("reading live jobs (keys)", n, -1) },
	}
	return r
}

func (r *liveRedis) Facts(ctx context.Context) (lineage.Facts, error) { return r.s.Facts(ctx) }

func (r *liveRedis) Image(ctx context.Context, l verify.Look) (verify.Image, error) {
	o := r.image
	o.Before, o.Versions = l.Before, l.Versions
	o.Ours = func(db int, id string) bool {
		_, ok := r.signed[verify.JobKey{DB: int32(db), ID: id}]
		return ok
	}
	return source.Image(ctx, o)
}

func (r *liveRedis) Run(ctx context.Context, db int, script restore.Script, calls []restore.Call) ([]any, error) {
	out := make([]live.Call, len(calls))
	for i, c := range calls {
		out[i] = live.Call{Keys: c.Keys, Args: c.Args}
	}
	return r.s.Run(ctx, db, r.script(script), out)
}

// script prepares each script once.
func (r *liveRedis) script(script restore.Script) *live.Script {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.scripts[script.Source]
	if s == nil {
		s = live.NewScript(script.Source)
		r.scripts[script.Source] = s
	}
	return s
}

func (r *liveRedis) Pipeline(ctx context.Context, db int, commands [][]any) ([]any, error) {
	return r.s.Pipeline(ctx, db, commands)
}
