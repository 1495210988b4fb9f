package rq_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"rqvault/internal/job"
	"rqvault/internal/keyspace"
	"rqvault/internal/rq"
)

var schema rq.Schema

const execution = "0123456789abcdef0123456789abcdef"

// oddIDs are job ids and queue names that a naive pattern takes apart wrongly.
var oddIDs = []string{
	"j", "4f2a9c01-0000-4000-8000-000000000000", "a:b", "a.b c", "ünïcödé", ":", "::", ":x", "x:", "a:dependents",
	":a:dependencies", "dependencies", ":dependencies", "dependents", ":dependents", "job:x", "x:intermediate", "_compact:u",
	"intermediate", ":intermediate", "x:intermediate:first_seen:j", "a:" + execution, "\xff\xfe", "\x00", "a\nb", "*", "[x]", "{tag}", " ",
}

func describe(k job.Key) string {
	return fmt.Sprintf("role %d id %q part %q place %q queue %q", k.Role, k.ID, k.Part, k.Place, k.Queue)
}

func TestClassifyKeyGrammar(t *testing.T) {
	hash := func(id string) job.Key { return job.Key{Role: job.Hash, ID: []byte(id), Part: job.HashPart} }
	owned := func(id string, p job.PartName) job.Key { return job.Key{Role: job.Owned, ID: []byte(id), Part: p} }
	list := func(q string, p job.PlaceKind) job.Key { return job.Key{Role: job.List, Queue: []byte(q), Place: p} }
	registry := func(q string, p job.PlaceKind) job.Key {
		return job.Key{Role: job.Registry, Queue: []byte(q), Place: p}
	}
	role := func(r job.Role) job.Key { return job.Key{Role: r} }
	for _, c := range []struct {
		name string
		kind keyspace.Kind
		want job.Key
	}{
		{"rq:queues", keyspace.Set, role(job.QueueList)},
		{"rq:queue:default", keyspace.List, list("default", job.InQueue)},
		{"rq:queue:a:b.c d", keyspace.List, list("a:b.c d", job.InQueue)},
		{"rq:queue:failed", keyspace.List, list("failed", job.InQueue)},
		{"rq:queue:q:intermediate", keyspace.List, list("q", job.InIntermediate)},
		{"rq:queue:x:intermediate:intermediate", keyspace.List, list("x:intermediate", job.InIntermediate)},
		{"rq:queue:intermediate", keyspace.List, list("intermediate", job.InQueue)},
		{"rq:queue::intermediate", keyspace.List, list(":intermediate", job.InQueue)},
		{"rq:queue:q:intermediates", keyspace.List, list("q:intermediates", job.InQueue)},
		{"rq:queue:_compact:1b2c", keyspace.List, list("_compact:1b2c", job.InCompact)},
		{"rq:queue:q:intermediate:first_seen:j", keyspace.String, role(job.Volatile)},
		{"rq:queue:a:b:intermediate:first_seen:c:d", keyspace.String, role(job.Volatile)},
		{"rq:job:j", keyspace.Hash, hash("j")},
		{"rq:job:a:b.c ü", keyspace.Hash, hash("a:b.c ü")},
		{"rq:job:j:dependents", keyspace.Hash, hash("j:dependents")},
		{"rq:job::j:dependencies", keyspace.Hash, hash(":j:dependencies")},
		{"rq:job:j:dependents", keyspace.Set, owned("j", job.DependentsPart)},
		{"rq:job:a:dependents:dependents", keyspace.Set, owned("a:dependents", job.DependentsPart)},
		{"rq:job::j:dependencies", keyspace.Set, owned("j", job.DependenciesPart)},
		{"rq:job:::j:dependencies", keyspace.Set, owned(":j", job.DependenciesPart)},
		{"rq:job::j:dependents", keyspace.Set, owned(":j", job.DependentsPart)},
		{"rq:job:j:dependencies", keyspace.Set, role(job.Unknown)}, // one colon: nobody writes it
		{"rq:job::dependencies", keyspace.Set, role(job.Unknown)},
		{"rq:job::dependents", keyspace.Set, role(job.Unknown)},
		{"rq:job:j", keyspace.Set, role(job.Unknown)},
		{"rq:job:", keyspace.Hash, role(job.Unknown)},
		{"rq:results:j", keyspace.Stream, owned("j", job.ResultsPart)},
		{"rq:results:a:b", keyspace.Stream, owned("a:b", job.ResultsPart)},
		{"rq:executions:j", keyspace.ZSet, owned("j", job.ExecutionsPart)},
		{"rq:execution:j:" + execution, keyspace.Hash, role(job.Volatile)},
		{"rq:wip:q", keyspace.ZSet, registry("q", job.InWip)},
		{"rq:finished:q", keyspace.ZSet, registry("q", job.InFinished)},
		{"rq:failed:q", keyspace.ZSet, registry("q", job.InFailed)},
		{"rq:deferred:q", keyspace.ZSet, registry("q", job.InDeferred)},
		{"rq:scheduled:q:r", keyspace.ZSet, registry("q:r", job.InScheduled)},
		{"rq:canceled:q", keyspace.ZSet, registry("q", job.InCanceled)},
		{"rq:ready:q", keyspace.ZSet, registry("q", job.InReady)},
		{"rq:group:g:h", keyspace.Set, job.Key{Role: job.Members, Queue: []byte("g:h"), Place: job.InGroup}},
		{"rq:groups", keyspace.Set, role(job.GroupList)},
		{"rq:rl-keys", keyspace.Set, role(job.Plain)},
		{"rq:rl:k", keyspace.Hash, job.Key{Role: job.Plain, Queue: []byte("k")}},
		{"rq:rl:k:rate_limited", keyspace.ZSet, registry("k", job.InRateLimited)},
		{"rq:rl:k:allowed", keyspace.ZSet, registry("k", job.InRateAllowed)},
		{"rq:worker:w", keyspace.Hash, job.Key{Role: job.WorkerHash, Queue: []byte("w")}},
		{"rq:queue:", keyspace.List, job.Key{Role: job.List, Place: job.InQueue}},
		{"rq:finished:", keyspace.ZSet, registry("", job.InFinished)},
		{"rq:worker:w:executions", keyspace.Set, role(job.Volatile)},
		{"rq:workers", keyspace.Set, role(job.Volatile)},
		{"rq:workers:q", keyspace.Set, role(job.Volatile)},
		{"rq:clean_registries:q", keyspace.String, role(job.Volatile)},
		{"rq:scheduler-lock:q", keyspace.String, job.Key{Role: job.Volatile, Queue: []byte("q")}},
		{"rq:scheduler:n", keyspace.Hash, role(job.Volatile)},
		{"rq:cron_schedulers", keyspace.ZSet, role(job.Volatile)},
		{"rq:cron_scheduler:n", keyspace.Hash, role(job.Volatile)},
		{"rq:cron_job:n:jobs", keyspace.ZSet, role(job.Volatile)},
		{"rq:suspended", keyspace.String, role(job.Volatile)},
		{"rq:registry:q", keyspace.ZSet, role(job.Volatile)},
		// A type that does not fit the name is never taken for the thing.
		{"rq:queue:q", keyspace.String, role(job.Unknown)},
		{"rq:queue:q", keyspace.ZSet, role(job.Unknown)},
		{"rq:queues", keyspace.List, role(job.Unknown)},
		{"rq:finished:q", keyspace.List, role(job.Unknown)},
		{"rq:wip:q", keyspace.Set, role(job.Unknown)},
		{"rq:job:j", keyspace.String, role(job.Unknown)},
		{"rq:job:j", keyspace.Other, role(job.Unknown)},
		{"rq:results:j", keyspace.List, role(job.Unknown)},
		{"rq:executions:j", keyspace.Set, role(job.Unknown)},
		{"rq:group:g", keyspace.ZSet, role(job.Unknown)},
		{"rq:future:thing", keyspace.Hash, role(job.Unknown)},
		{"rq:", keyspace.Hash, role(job.Unknown)},
		// Not RQ's.
		{"rq", keyspace.Hash, role(job.Foreign)},
		{"RQ:job:j", keyspace.Hash, role(job.Foreign)},
		{"rqx:job:j", keyspace.Hash, role(job.Foreign)},
		{"", keyspace.String, role(job.Foreign)},
		{"orchestrator:tasks", keyspace.ZSet, role(job.Foreign)},
		{"rqvault:ledger:x", keyspace.Hash, role(job.Foreign)},
	} {
		if got := schema.Classify([]byte(c.name), c.kind); describe(got) != describe(c.want) {
			t.Errorf("Classify(%q, %s): got %s, want %s", c.name, c.kind, describe(got), describe(c.want))
		}
	}
}

// kinds of key by part and place.
var (
	partKinds = map[job.PartName]keyspace.Kind{job.HashPart: keyspace.Hash, job.DependentsPart: keyspace.Set,
		job.DependenciesPart: keyspace.Set, job.ResultsPart: keyspace.Stream, job.ExecutionsPart: keyspace.ZSet}
	placeKinds = map[job.PlaceKind]keyspace.Kind{job.InQueue: keyspace.List, job.InIntermediate: keyspace.List,
		job.InWip: keyspace.ZSet, job.InFinished: keyspace.ZSet, job.InFailed: keyspace.ZSet, job.InDeferred: keyspace.ZSet,
		job.InScheduled: keyspace.ZSet, job.InCanceled: keyspace.ZSet, job.InReady: keyspace.ZSet, job.InGroup: keyspace.Set,
		job.InRateLimited: keyspace.ZSet, job.InRateAllowed: keyspace.ZSet}
)

// checkIdentity fails unless every key made for the id is taken for that id again, and
// every key made for a queue of that name for that queue.
func checkIdentity(t testing.TB, id string) {
	t.Helper()
	for part, kind := range partKinds {
		name := schema.PartKey(id, part)
		if got := schema.Classify([]byte(name), kind); string(got.ID) != id || got.Part != part {
			t.Errorf("%s of job %q is %q, read as %s", part, id, name, describe(got))
		}
	}
	for place, kind := range placeKinds {
		name := schema.PlaceKey(place, id)
		// A queue is registered by its list's name; nothing else ever is.
		registered := func(list string) bool { return list == schema.PlaceKey(job.InQueue, id) }
		got := schema.Settle([]byte(name), schema.Classify([]byte(name), kind), registered)
		if string(got.Queue) != id || got.Place != place {
			t.Errorf("%s of %q is %q, read as %s", place, id, name, describe(got))
		}
	}
}

func TestWhatIsWrittenIsReadBack(t *testing.T) {
	for _, id := range oddIDs {
		checkIdentity(t, id)
	}
	if got := schema.PartKey("j", job.DependenciesPart); got != "rq:job::j:dependencies" {
		t.Errorf("parents' set: got %q, want two colons", got)
	}
	if got := schema.PlaceKey("nowhere", "q"); got != "" {
		t.Errorf("a place that does not exist: got key %q, want none", got)
	}
	if got := schema.PlaceKey(job.InCompact, "_compact:u"); got != "rq:queue:_compact:u" {
		t.Errorf("compaction's leftover: got %q", got)
	}
	for name, want := range map[string]string{schema.QueuesKey(): "rq:queues", schema.GroupsKey(): "rq:groups", schema.Prefix(): "rq:", schema.Name(): "rq"} {
		if name != want {
			t.Errorf("got %q, want %q", name, want)
		}
	}
}

func TestSettleByRegistration(t *testing.T) {
	for _, c := range []struct {
		name       string
		registered bool
		queue      string
		place      job.PlaceKind
	}{
		{"rq:queue:x:intermediate", true, "x:intermediate", job.InQueue},
		{"rq:queue:x:intermediate", false, "x", job.InIntermediate},
		{"rq:queue:_compact:u", true, "_compact:u", job.InQueue},
		{"rq:queue:_compact:u", false, "_compact:u", job.InCompact},
		{"rq:queue:q", false, "q", job.InQueue},
		{"rq:queue:q", true, "q", job.InQueue},
	} {
		k := schema.Classify([]byte(c.name), keyspace.List)
		got := schema.Settle([]byte(c.name), k, func(list string) bool { return c.registered && list == c.name })
		if string(got.Queue) != c.queue || got.Place != c.place {
			t.Errorf("%s, registered %v: got %s, want %s of %s", c.name, c.registered, describe(got), c.place, c.queue)
		}
	}
	k := job.Key{Role: job.Registry, Queue: []byte("q"), Place: job.InWip}
	if got := schema.Settle([]byte("rq:wip:q"), k, func(string) bool { return true }); got.Place != job.InWip {
		t.Errorf("a registry was settled to %s", describe(got))
	}
}

func TestJobOfRunningMembers(t *testing.T) {
	for _, c := range []struct {
		place   job.PlaceKind
		member  string
		id, alt string
	}{
		{job.InWip, "j", "j", ""},
		{job.InWip, "j:" + execution, "j:" + execution, "j"},
		{job.InWip, "a:b:" + execution, "a:b:" + execution, "a:b"},
		{job.InWip, "a:b", "a:b", ""},
		{job.InWip, ":" + execution, ":" + execution, ""}, // no job has an empty id
		{job.InWip, execution, execution, ""},
		{job.InWip, "j:" + strings.ToUpper(execution), "j:" + strings.ToUpper(execution), ""},
		{job.InWip, "j:" + execution[1:], "j:" + execution[1:], ""},
		{job.InWip, "j:" + execution + "0", "j:" + execution + "0", ""},
		{job.InWip, "j:" + execution[:31] + "g", "j:" + execution[:31] + "g", ""},
		{job.InWip, "", "", ""},
		{job.InFinished, "j:" + execution, "j:" + execution, ""},
		{job.InQueue, "j:" + execution, "j:" + execution, ""},
	} {
		id, alt := schema.JobOf(c.place, []byte(c.member))
		if string(id) != c.id || string(alt) != c.alt || (alt == nil) != (c.alt == "") {
			t.Errorf("JobOf(%s, %q): got %q or %q, want %q or %q", c.place, c.member, id, alt, c.id, c.alt)
		}
	}
}

func TestHomes(t *testing.T) {
	want := map[job.Status][]job.PlaceKind{
		job.Created: nil, job.Queued: {job.InQueue, job.InIntermediate}, job.Started: {job.InWip}, job.Finished: {job.InFinished},
		job.Failed: {job.InFailed}, job.Stopped: {job.InFailed}, job.Deferred: {job.InDeferred}, job.Scheduled: {job.InScheduled},
		job.Canceled: {job.InCanceled}, job.Ready: {job.InReady}, job.RateLimited: {job.InRateLimited}, "unknown": nil, "": nil,
	}
	for s, w := range want {
		if got := schema.Homes(s); fmt.Sprint(got) != fmt.Sprint(w) {
			t.Errorf("homes of %q: got %v, want %v", s, got, w)
		}
		// Only a job that waits may be put where a worker takes it from.
		for _, h := range schema.Homes(s) {
			if (h == job.InQueue || h == job.InIntermediate) && s != job.Queued {
				t.Errorf("a %s job is at home in %s: it would run", s, h)
			}
		}
	}
}

func FuzzClassify(f *testing.F) {
	for _, id := range oddIDs {
		f.Add([]byte(id), byte(keyspace.Set))
		f.Add([]byte("rq:job:"+id), byte(keyspace.Hash))
		f.Add([]byte("rq:queue:"+id), byte(keyspace.List))
		f.Add([]byte("rq:rl:"+id+":allowed"), byte(keyspace.ZSet))
	}
	f.Fuzz(func(t *testing.T, name []byte, kind byte) {
		before := bytes.Clone(name)
		for _, registered := range []bool{false, true} {
			k := schema.Classify(name, keyspace.Kind(kind))
			k = schema.Settle(name, k, func(string) bool { return registered })
			checkKey(t, name, k)
		}
		if !bytes.Equal(name, before) {
			t.Errorf("the name was changed from %q to %q", before, name)
		}
		if len(name) > 0 {
			checkIdentity(t, string(name))
		}
		for place := range placeKinds {
			if id, alt := schema.JobOf(place, name); !bytes.Equal(id, name) || alt != nil && len(alt)+33 != len(name) {
				t.Errorf("JobOf(%s, %q): got %q or %q", place, name, id, alt)
			}
		}
	})
}

// checkKey fails unless the key's own name can be made of what was read from it.
func checkKey(t testing.TB, name []byte, k job.Key) {
	t.Helper()
	want := string(name)
	switch k.Role {
	case job.Foreign:
		if bytes.HasPrefix(name, []byte("rq:")) {
			t.Errorf("%q is RQ's, read as %s", name, describe(k))
		}
	case job.Hash, job.Owned:
		if got := schema.PartKey(string(k.ID), k.Part); got != want || len(k.ID) == 0 {
			t.Errorf("%q was read as %s, which is written as %q", name, describe(k), got)
		}
	case job.List, job.Registry, job.Members:
		if got := schema.PlaceKey(k.Place, string(k.Queue)); got != want {
			t.Errorf("%q was read as %s, which is written as %q", name, describe(k), got)
		}
	}
}
