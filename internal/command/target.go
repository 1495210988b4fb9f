package command

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	"rqvault/internal/job"
	"rqvault/internal/keyspace"
	"rqvault/internal/lineage"
	"rqvault/internal/live"
	"rqvault/internal/snapshot"
	"rqvault/internal/source"
	"rqvault/verify"
)

func intoFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "into", Usage: "put the whole snapshot into the empty server at this `URL`, with its workers waiting"},
		&cli.StringFlag{Name: "into-password", Usage: "its password, where it should not stand in the URL", EnvVars: []string{"RQVAULT_INTO_PASSWORD"}, DefaultText: "none"},
		&cli.StringFlag{Name: "into-password-file", Usage: "`FILE` that holds it", EnvVars: []string{"RQVAULT_INTO_PASSWORD_FILE"}},
		&cli.BoolFlag{Name: "replace-all", Usage: "with --into: empty every database of that server first"},
	}
}

// target is the server that --into names.
type target struct {
	server *live.Server
	url    string // without its password
	facts  lineage.Facts
	holds  int64 // keys in it
	now    func() time.Time
}

// dialTarget connects to what --into names and refuses it unless a whole snapshot may go
// there.
func (e *env) dialTarget(c *cli.Context, m *snapshot.Manifest, readOnly bool) (*target, error) {
	t, err := live.ParseURL(c.String("into"))
	if err != nil {
		return nil, usage("--into: %v", err)
	}
	if t.DB != 0 {
		return nil, usage("--into names a server, not one database of it: every key goes into the database it came from")
	}
	password, err := secretFlag(c, "into-password")
	if err != nil {
		return nil, err
	}
	if password != "" {
		t.Password = password
	}
	e.target = t.String()
	server, err := live.Dial(c.Context, t, live.Options{ReadOnly: readOnly})
	if err != nil {
		return nil, err
	}
	into := &target{server: server, url: t.String()}
	if err := e.examine(c, m, into); err != nil {
		_ = server.Close()
		return nil, err
	}
	return into, nil
}

// examine refuses a target that looks like production, or like anything that somebody
// still needs.
func (e *env) examine(c *cli.Context, m *snapshot.Manifest, t *target) error {
	var err error
	if t.facts, err = t.server.Facts(c.Context); err != nil {
		return err
	}
	skew := time.Duration(t.facts.ClockSkewMS) * time.Millisecond
	t.now = func() time.Time { return e.now().Add(skew) }
	if t.facts.Persistence.Loading {
		return lineage.ErrLoading
	}
	if t.server.Abandoned(c.Context) {
		return &advice{fmt.Errorf("%w: the target waits for a restore that was stopped in the middle", errRefused),
			fmt.Sprintf("redis-cli -u %s replicaof no one; then run the same command again", quote(t.url))}
	}
	if err := refuseProduction(t.facts, m); err != nil {
		return err
	}
	if err := e.refuseSame(c, t); err != nil {
		return err
	}
	if err := e.refuseManned(c, t); err != nil {
		return err
	}
	if err := t.hasDatabases(c.Context, m); err != nil {
		return err
	}
	sizes, err := (&filled{t.server}).Sizes(c.Context)
	if err != nil {
		return err
	}
	for _, n := range sizes {
		t.holds += n
	}
	if t.holds > 0 && !c.Bool("replace-all") {
		return &advice{fmt.Errorf("%w: the target holds %s, and a whole snapshot only goes into an empty server", errRefused, plural(t.holds, "key")),
			"name an empty server; or, if nobody needs what is there, or an earlier run was stopped in the middle, add --replace-all: it empties every database of it first"}
	}
	return nil
}

// otherTarget is what to do about a target that must not be touched.
const otherTarget = "name a server of its own for this, such as a staging Redis that nobody uses"

func refusal(format string, args ...any) error {
	return &advice{fmt.Errorf("%w: %s", errRefused, fmt.Sprintf(format, args...)), otherTarget}
}

// refuseProduction looks at what the target says of itself.
func refuseProduction(f lineage.Facts, m *snapshot.Manifest) error {
	r := f.Replication
	if r.Role == "" {
		return refusal("the target does not say what it is (INFO replication)")
	}
	if f.ClusterEnabled {
		return refusal("the target is a node of a Redis Cluster, which RQ cannot use")
	}
	if r.Role == "slave" {
		return refusal("the target is a replica of %s", net.JoinHostPort(r.MasterHost, fmt.Sprint(r.MasterPort)))
	}
	if r.ConnectedReplicas > 0 {
		return refusal("the target has %s attached: it looks like production", plural(r.ConnectedReplicas, "replica"))
	}
	for _, then := range []lineage.Facts{m.Lineage.Before, m.Lineage.After} {
		if f.RunID != "" && f.RunID == then.RunID {
			return refusal("the target is the very server that snapshot %s was taken from", m.ID)
		}
		if id := r.MasterReplID; id != "" && id == then.Replication.MasterReplID {
			return refusal("the target goes on with the replication history of the server that snapshot %s was taken from", m.ID)
		}
	}
	return nil
}

// refuseSame keeps --into off the server that --redis names.
func (e *env) refuseSame(c *cli.Context, t *target) error {
	if !c.IsSet("redis") {
		return nil
	}
	other, err := live.ParseURL(c.String("redis"))
	if err != nil {
		return usage("--redis: %v", err)
	}
	if password, err := secretFlag(c, "redis-password"); err != nil {
		return err
	} else if password != "" {
		other.Password = password
	}
	same := refusal("--into and --redis (or RQVAULT_REDIS) name the same server")
	if mine := t.server.Target(); other.Addr == mine.Addr && other.Network == mine.Network {
		return same
	}
	s, err := live.Dial(c.Context, other, live.Options{ReadOnly: true})
	if errors.Is(err, live.ErrUnreachable) || errors.Is(err, live.ErrNoMaster) {
		return nil // that one is down, and the target is not
	}
	if err != nil {
		return fmt.Errorf("see whether --redis is another server than --into: %w", err)
	}
	defer func() { _ = s.Close() }()
	f, err := s.Facts(c.Context)
	if err != nil {
		return fmt.Errorf("see whether --redis is another server than --into: %w", err)
	}
	if f.RunID != "" && f.RunID == t.facts.RunID {
		return same
	}
	return nil
}

// refuseManned keeps jobs from workers that are there already: those would begin before
// anybody has looked.
func (e *env) refuseManned(c *cli.Context, t *target) error {
	waiting, err := t.server.Waiting(c.Context)
	if err != nil {
		return err
	}
	if waiting > 0 {
		return refusal("%s blocked in the target, as workers are that wait for jobs: it looks like production", clients(waiting))
	}
	workers, err := source.Workers(c.Context, t.server, e.schema, c.String("temp-dir"))
	if err != nil {
		return err
	}
	workers = slices.DeleteFunc(workers, func(w job.Worker) bool { return w.Dead })
	if len(workers) > 0 {
		return refusal("worker %s is registered in the target (%s in all): it looks like production", quote(workers[0].Name), plural(int64(len(workers)), "worker"))
	}
	return nil
}

func clients(n int) string {
	if n == 1 {
		return "1 client is"
	}
	return fmt.Sprintf("%d clients are", n)
}

// hasDatabases refuses a target that lacks a database of the snapshot.
func (t *target) hasDatabases(ctx context.Context, m *snapshot.Manifest) error {
	last := lastDB(m)
	replies, err := t.server.Pipeline(ctx, last, [][]any{{"DBSIZE"}})
	if err == nil {
		err, _ = replies[0].(error)
	}
	if errors.Is(err, live.ErrNoDB) {
		return &advice{fmt.Errorf("%w: the target has no database %d, and the snapshot has keys in it", errRefused, last),
			fmt.Sprintf("give the target more databases (databases %d in redis.conf), or name another one", last+1)}
	}
	return err
}

// keysByDB is how many keys a snapshot holds of each database.
func keysByDB(m *snapshot.Manifest) map[int]int64 {
	all := map[int]int64{}
	for name, n := range m.Counts.ByDB {
		if db, err := strconv.Atoi(name); err == nil {
			all[db] = n
		}
	}
	return all
}

// lastDB is the highest database that a snapshot holds keys of.
func lastDB(m *snapshot.Manifest) int {
	last := 0
	for db := range keysByDB(m) {
		last = max(last, db)
	}
	return last
}

// filled is the target in the words of verify.
type filled struct{ server *live.Server }

var _ verify.Filled = (*filled)(nil)

func (f *filled) Keys(ctx context.Context, db int, names [][]byte) iter.Seq2[*keyspace.Record, error] {
	return source.Named(ctx, f.server, db, names)
}

func (f *filled) Sizes(ctx context.Context) (map[int]int64, error) {
	dbs, err := f.server.Databases(ctx)
	if err != nil {
		return nil, err
	}
	sizes := map[int]int64{}
	for _, db := range dbs {
		replies, err := f.server.Pipeline(ctx, db, [][]any{{"DBSIZE"}})
		if err != nil {
			return nil, err
		}
		n, ok := replies[0].(int64)
		if !ok {
			return nil, fmt.Errorf("DBSIZE of db %d: %v", db, replies[0])
		}
		sizes[db] = n
	}
	return sizes, nil
}
