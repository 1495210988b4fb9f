package restore

import (
	"context"
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"time"

	"rqvault/internal/job"
	"rqvault/verify"
)

//go:embed repair.lua
var repairLua string

var repairScript = Script{repairLua}

// Repair is what became of one breach.
type Repair struct {
	verify.Breach
	Result Result `json:"result"`
	Reason string `json:"reason"`
}

// RepairOptions are what repairs work with. All are needed.
type RepairOptions struct {
	Redis   Redis
	Schema  job.Schema
	Started verify.OnStarted // what becomes of a job whose run is dead; "" leaves it to the policy
	Policy  func(queue string) verify.Policy
	Manned  bool             // workers are alive
	Now     func() time.Time // by the server's clock
	Outcome func(Repair)     // told once for each breach
}

// Repairs carries out the safe repair of each breach that has one: one script each, which
// first checks that all is still as it was seen. It can be stopped and run again; what is
// repaired already is no breach any more.
func Repairs(ctx context.Context, breaches []verify.Breach, o RepairOptions) error {
	r := &repairer{o: o}
	breaches = headLast(breaches)
	for len(breaches) > 0 {
		n := 1
		for n < len(breaches) && n < batchCalls && breaches[n].DB == breaches[0].DB {
			n++
		}
		if err := r.batch(ctx, breaches[:n]); err != nil {
			return fmt.Errorf("repair: %w", err)
		}
		breaches = breaches[n:]
	}
	return nil
}

// headLast turns round the runs of breaches whose repairs put ids at the head of a queue:
// the last one put there runs first.
func headLast(breaches []verify.Breach) []verify.Breach {
	out := slices.Clone(breaches)
	for i := 0; i < len(out); {
		n := i + 1
		for n < len(out) && out[n].Invariant == out[i].Invariant && out[n].DB == out[i].DB {
			n++
		}
		switch out[i].Invariant {
		case "queued-job-not-in-queue", "compact-leftover", "intermediate-stale", "started-job-not-in-wip":
			slices.Reverse(out[i:n])
		}
		i = n
	}
	return out
}

type repairer struct{ o RepairOptions }

func (r *repairer) batch(ctx context.Context, breaches []verify.Breach) error {
	var calls []Call
	var about []*verify.Breach
	for i := range breaches {
		b := &breaches[i]
		m := &mend{schema: r.o.Schema, b: b}
		why := r.repair(m)
		if why != "" {
			r.o.Outcome(Repair{*b, Held, why})
			continue
		}
		calls, about = append(calls, m.call()), append(about, b)
	}
	if len(calls) == 0 {
		return nil
	}
	replies, err := r.o.Redis.Run(ctx, int(breaches[0].DB), repairScript, calls)
	if err != nil {
		return err
	}
	for i, reply := range replies {
		word, detail, err := words(reply, 0)
		out := Repair{*about[i], Repaired, about[i].Repair}
		switch {
		case err != nil:
			out.Result, out.Reason = Failed, plain(err.Error())
		case word == "changed":
			out.Result, out.Reason = Skipped, "it has changed since it was looked at"
		case word != "done":
			out.Result, out.Reason = Failed, "Redis refused it: "+plain(detail)
		}
		r.o.Outcome(out)
	}
	return nil
}

// repair fills in what to demand and what to do. It returns why nothing can be done by
// itself, "" if something can.
func (r *repairer) repair(m *mend) (why string) {
	if m.b.Repair == "" {
		return "left to you: " + m.b.Detail
	}
	if m.b.Key != "" {
		r.key(m)
		return ""
	}
	if m.b.Seen == nil {
		return "it names no job"
	}
	if m.b.Seen.Exists {
		m.version()
	} else {
		m.demand("nojob", m.hash(), r.o.Schema.PayloadField())
	}
	if p := m.b.Place; p != nil && p.Kind != job.InCompact {
		m.demand("in", kindOf(p.Kind), r.o.Schema.PlaceKey(p.Kind, p.Queue), member(p, m.b.JobID))
	}
	fix := fixes[m.b.Invariant]
	if fix == nil {
		return "left to you"
	}
	return fix(r, m)
}

func (r *repairer) key(m *mend) {
	b := m.b
	switch {
	case b.Invariant == "queue-not-registered":
		m.step("SADD", r.o.Schema.QueuesKey(), b.Key)
		return
	case b.Flag == job.Beats:
		m.step("PEXPIRE", b.Key, signOfLife.Milliseconds())
	default:
		m.step("DEL", b.Key)
	}
	m.demand("endless", b.Key)
}

// signOfLife is how long a worker that is alive may take to renew its key: RQ's longest.
const signOfLife = 480 * time.Second

// mend is one repair in the making.
type mend struct {
	schema  job.Schema
	b       *verify.Breach
	keys    []string
	n       int
	demands []any
	steps   []any
}

func (m *mend) hash() string { return m.schema.PartKey(m.b.JobID, job.HashPart) }

func (m *mend) demand(words ...string) {
	m.n++
	for _, w := range words {
		m.demands = append(m.demands, w)
	}
}

// version demands the job as it was seen.
func (m *mend) version() {
	texts := m.schema.VersionTexts(m.b.Seen)
	m.n++
	m.demands = append(m.demands, "version", m.hash(), len(texts))
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		m.demands = append(m.demands, name, texts[name])
	}
}

// step appends a command, whose key is its first argument.
func (m *mend) step(args ...any) {
	m.keys = append(m.keys, args[1].(string))
	m.steps = append(append(m.steps, len(args)), args...)
}

func (m *mend) call() Call {
	return Call{Keys: append([]string{m.hash()}, m.keys...), Args: append(append([]any{m.n}, m.demands...), m.steps...)}
}

// kindOf is how repair.lua calls the type of a place.
func kindOf(k job.PlaceKind) string {
	switch {
	case k.Ordered():
		return "list"
	case k == job.InGroup:
		return "set"
	}
	return "zset"
}

// member is the id as it stands in a place.
func member(p *job.Place, id string) string {
	if p.Member != "" {
		return p.Member
	}
	return id
}
