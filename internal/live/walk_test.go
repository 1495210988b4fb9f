package live_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"rqvault/internal/live"
	"rqvault/internal/redistest"
)

func jobWalk() live.WalkOptions {
	return live.WalkOptions{Match: "job:*", Fields: []string{"a", "b", "none"}, Measure: "big",
		Reads: func(key []byte) bool { return !strings.HasSuffix(string(key), ":set") }}
}

// walked is what a walk said of each key.
func walked(t *testing.T, s *live.Server, o live.WalkOptions) map[string]string {
	t.Helper()
	all := map[string]string{}
	for k, err := range s.Walk(t.Context(), o) {
		if err != nil {
			t.Fatal(err)
		}
		all[string(k.Key)] = fmt.Sprintf("%q %d %d", k.Values, k.Measured, k.ExpireAt)
	}
	return all
}

func TestWalkReadsFieldsAndNamesTheRest(t *testing.T) {
	r := redistest.Start(t, redistest.WithTLS(), redistest.WithPassword("geheim"), redistest.WithUser("half on >pw ~* +@all -hstrlen"))
	r.Do("EVAL", `
		for i = 1, 3000 do redis.call('hset', 'job:'..i, 'a', i, 'b', '', 'big', string.rep('x', i)) end
		redis.call('pexpireat', 'job:7', 4102444800123)
		redis.call('sadd', 'job:1:set', 'm')
		redis.call('set', 'job:string', 'x')
		redis.call('hset', 'job:small', 'a', '1')
		redis.call('hset', 'job:bare', 'big', '1')
		redis.call('hset', 'job:long', 'a', string.rep('x', 100000), 'big', 'x')
		redis.call('set', 'other', 'x')
		redis.call('select', 5)
		redis.call('hset', 'job:5', 'a', '5', 'big', 'x')`, 0)
	for what, url := range map[string]string{"socket": r.SocketURL(), "TLS": r.URL()} {
		s := dial(t, url, live.Options{ReadOnly: true})
		got := walked(t, s, jobWalk())
		for key, want := range map[string]string{"job:7": `["7" "" ""] 7 4102444800123`, "job:3000": `["3000" "" ""] 3000 0`,
			"job:1:set": "[] 0 0", "job:string": "[] 0 0", "job:small": "[] 0 0", "job:bare": "[] 0 0", "job:long": "[] 0 0"} {
			if got[key] != want {
				t.Errorf("%s: %s: got %s, want %s", what, key, got[key], want)
			}
		}
		if len(got) != 3005 {
			t.Errorf("%s: got %d keys, want 3005", what, len(got))
		}
		o := jobWalk()
		o.DB = 5
		if got := walked(t, s, o); len(got) != 1 || got["job:5"] != `["5" "" ""] 1 0` {
			t.Errorf("%s: database 5: got %v", what, got)
		}
	}
	half := dial(t, strings.Replace(r.SocketURL(), ":geheim@", "half:pw@", 1), live.Options{})
	if got := walked(t, half, jobWalk()); len(got) != 3005 || got["job:7"] != "[] 0 0" {
		t.Errorf("without the right to measure: got %d keys and %s, want names alone", len(got), got["job:7"])
	}
}

// Where the first fields are enough nothing else is asked, and where they are not, all that
// was read is from one later instant.
func TestWalkAsksForMoreWhereThatIsNeeded(t *testing.T) {
	r := redistest.Start(t, redistest.WithUser("old on >pw ~* +@all -pexpiretime"), redistest.WithUser("half on >pw ~* +@all -hstrlen"),
		redistest.WithUser("none on >pw ~* +@all -hmget"))
	r.Do("EVAL", `
		for i = 1, 3000 do
			local key, a = 'job:'..i, ({'enough', 'ends', 'more'})[i % 3 + 1]
			redis.call('hset', key, 'a', a, 'b', i, 'big', 'xyz')
			redis.call('pexpireat', key, 4102444800500)
		end
		redis.call('sadd', 'job:1:set', 'm')
		redis.call('set', 'job:string', 'x')
		redis.call('hset', 'job:small', 'a', 'more')
		redis.call('hset', 'job:other', 'b', '1', 'big', 'x')
		redis.call('hset', 'job:long', 'a', string.rep('x', 100000), 'big', 'x')
		redis.call('hset', 'job:later', 'a', 'more', 'b', string.rep('x', 100000), 'big', 'x')`, 0)
	o := jobWalk()
	o.First, o.More = 1, func(first [][]byte) live.More {
		if len(first) != 1 {
			t.Errorf("got %q, want one value", first)
		}
		return map[string]live.More{"ends": live.Expiry, "more": live.Everything}[string(first[0])]
	}
	as := func(user string) string { return strings.Replace(r.SocketURL(), "unix://", "unix://"+user+":pw@", 1) }
	for user, want := range map[string][3]string{
		"":     {`["enough"] 0 0`, `["ends"] 0 4102444800500`, `["more" "2" ""] 3 4102444800500`},
		"old":  {`["enough"] 0 0`, `["ends"] 0 4102444800`, `["more" "2" ""] 3 4102444800`}, // give or take what passed since it told the time
		"half": {`["enough"] 0 0`, `["ends"] 0 4102444800500`, `[] 0 0`},
		"none": {`[] 0 0`, `[] 0 0`, `[] 0 0`},
	} {
		url := r.SocketURL()
		if user != "" {
			url = as(user)
		}
		got := walked(t, dial(t, url, live.Options{ReadOnly: true}), o)
		for i, key := range []string{"job:3", "job:1", "job:2"} {
			if !strings.HasPrefix(got[key], want[i]) {
				t.Errorf("%q: %s: got %s, want %s", user, key, got[key], want[i])
			}
		}
		for _, key := range []string{"job:1:set", "job:string", "job:small", "job:other", "job:long", "job:later"} {
			if got[key] != "[] 0 0" {
				t.Errorf("%q: %s: got %s, want its name alone", user, key, got[key])
			}
		}
		if len(got) != 3006 {
			t.Errorf("%q: got %d keys, want 3006", user, len(got))
		}
	}
}

func TestWalkEndsWithItsServerItsCallerAndItsContext(t *testing.T) {
	r := redistest.Start(t)
	fill(r, 3000)
	s := dial(t, r.URL(), live.Options{})
	o := live.WalkOptions{Fields: []string{"f"}, Measure: "g", Reads: func([]byte) bool { return true }}
	for range s.Walk(t.Context(), o) {
		break
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last error
	for _, last = range s.Walk(ctx, o) {
		cancel()
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("cancelled: got %v", last)
	}
	n := 0
	for _, last = range s.Walk(t.Context(), o) {
		if n++; n == 100 {
			r.Kill()
		}
	}
	if !errors.Is(last, live.ErrUnreachable) {
		t.Errorf("killed after %d keys: got %v, want %v", n, last, live.ErrUnreachable)
	}
	var errs []error
	for _, err := range s.Walk(t.Context(), o) {
		errs = append(errs, err)
	}
	if len(errs) != 1 || !errors.Is(errs[0], live.ErrUnreachable) {
		t.Errorf("dead: got %v", errs)
	}
	r.Restart(true)
	if got := slices.Collect(func(yield func(string) bool) {
		for k, err := range s.Walk(t.Context(), o) {
			if !yield(fmt.Sprint(string(k.Key), err)) {
				return
			}
		}
	}); len(got) != 0 {
		t.Errorf("empty: got %v", got)
	}
}

// A server that hangs up on who seems to be idle is asked again, from where the walk was.
func TestWalkGoesOnOverAnotherConnection(t *testing.T) {
	r := redistest.Start(t)
	fill(r, 30000)
	s := dial(t, r.URL(), live.Options{ReadOnly: true})
	o := live.WalkOptions{Fields: []string{"f"}, Measure: "g", Reads: func([]byte) bool { return true }}
	seen, n, killed := map[string]bool{}, 0, 0
	for k, err := range s.Walk(t.Context(), o) {
		if err != nil {
			t.Fatal(err)
		}
		seen[string(k.Key)] = true
		if n++; n%5000 == 0 {
			if got, _ := r.Do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes").(int64); got > 0 {
				killed++
			}
		}
	}
	if len(seen) != 30000 || killed < 2 {
		t.Errorf("got %d of 30000 keys over %d lost connections", len(seen), killed)
	}
}
