package live_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"rqvault/internal/live"
	"rqvault/internal/redistest"
)

// restore puts what a scan found into another server, as the later of duplicates.
func restore(t *testing.T, to *redistest.Server, seq func(func(live.Dumped, error) bool)) int {
	t.Helper()
	ctx, n := context.Background(), 0
	clients := map[int]*redis.Client{}
	for d, err := range seq {
		if err != nil {
			t.Fatal(err)
		}
		c := clients[d.DB]
		if c == nil {
			c = redis.NewClient(&redis.Options{Network: "unix", Addr: to.Socket(), DB: d.DB, Protocol: 2, DisableIdentity: true})
			defer c.Close()
			clients[d.DB] = c
		}
		if err := c.Do(ctx, "RESTORE", d.Key, d.ExpireAt, d.Payload, "REPLACE", "ABSTTL").Err(); err != nil {
			t.Fatalf("restore %s: %v", d.Key, err)
		}
		n++
	}
	return n
}

func TestScanCarriesEveryKeyOfEveryDatabase(t *testing.T) {
	r := redistest.Start(t)
	r.Do("EVAL", `
		for i=1,3000 do redis.call('set', 'str:'..i, string.rep('v', i % 50)) end
		for i=1,40 do
			redis.call('rpush', 'list:'..i, 'a', i, string.rep('x', 200*i))
			redis.call('hset', 'hash:'..i, 'f', i, 'g', 'h')
			redis.call('zadd', 'zset:'..i, 1.5, 'm'..i)
			redis.call('sadd', 'set:'..i, i, 'm')
			redis.call('xadd', 'stream:'..i, '1-'..i, 'f', 'v')
			redis.call('pexpire', 'hash:'..i, 100000000 + i)
		end
		redis.call('select', 5)
		redis.call('set', 'bin\0\r\nkey', 'bin\0\255value')
		redis.call('select', 9)
		redis.call('set', 'last', '1')`, 0)
	s := dial(t, r.URL(), live.Options{ReadOnly: true})
	copied := redistest.Start(t)
	n := restore(t, copied, s.Scan(context.Background(), live.ScanOptions{DB: live.AllDBs, Count: 100, Pipeline: 64}))
	if n < 3202 {
		t.Errorf("keys: got %d, want at least 3202", n)
	}
	if got, want := copied.Digest(context.Background()), r.Digest(context.Background()); got != want {
		t.Errorf("digest of the copy: got %s, want %s", got, want)
	}
	for i := 1; i <= 40; i++ {
		key := fmt.Sprintf("hash:%d", i)
		if got, want := copied.Do("PEXPIRETIME", key), r.Do("PEXPIRETIME", key); got != want {
			t.Errorf("expiry of %s: got %v, want %v", key, got, want)
		}
	}
}

func TestScanChoosesAndDumpKeepsOrder(t *testing.T) {
	r := redistest.Start(t, redistest.WithTCP(), redistest.WithUser("old on >pw ~* +@all -pexpiretime -memory"),
		redistest.WithUser("part on >pw ~str:* +@all"))
	r.Do("EVAL", "for i=1,100 do redis.call('set', 'str:'..i, i, 'PX', 5000000); redis.call('rpush', 'list:'..i, i) end", 0)
	ctx := context.Background()
	s := dial(t, r.URL(), live.Options{})
	count := func(s *live.Server, o live.ScanOptions) (keys map[string]live.Dumped, errs int) {
		keys = map[string]live.Dumped{}
		for d, err := range s.Scan(ctx, o) {
			var only *live.KeyError
			if errors.As(err, &only) {
				errs++
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			keys[string(d.Key)] = d
		}
		return keys, errs
	}
	if got, _ := count(s, live.ScanOptions{Match: "str:1*"}); len(got) != 12 {
		t.Errorf("match: got %d keys, want 12", len(got))
	}
	if got, _ := count(s, live.ScanOptions{Type: "list"}); len(got) != 100 {
		t.Errorf("type: got %d keys, want 100", len(got))
	}
	if got, _ := count(s, live.ScanOptions{DB: 3}); len(got) != 0 {
		t.Errorf("empty database: got %d keys", len(got))
	}
	// A server before 7.0 and a service without MEMORY USAGE.
	got, _ := count(dial(t, "redis://old:pw@"+r.Addr(), live.Options{}), live.ScanOptions{})
	want := r.Do("PEXPIRETIME", "str:7").(int64)
	if d := got["str:7"].ExpireAt - want; len(got) != 200 || d < -5 || d > 5 || got["list:7"].ExpireAt != 0 {
		t.Errorf("without PEXPIRETIME: %d keys, expiry off by %d ms", len(got), d)
	}
	got, errs := count(dial(t, "redis://part:pw@"+r.Addr(), live.Options{}), live.ScanOptions{})
	if len(got) != 100 || errs != 100 {
		t.Errorf("user of half the keys: got %d keys and %d errors, want 100 and 100", len(got), errs)
	}
	got, errs = count(s, live.ScanOptions{MaxPayload: 8})
	if len(got) != 0 || errs != 200 {
		t.Errorf("tiny limit: got %d keys and %d errors, want 0 and 200", len(got), errs)
	}
	var order []string
	for d, err := range s.Dump(ctx, 0, [][]byte{[]byte("str:9"), []byte("nosuch"), []byte("list:1"), []byte("str:2")}) {
		if err != nil {
			t.Fatal(err)
		}
		order = append(order, string(d.Key))
	}
	if !slices.Equal(order, []string{"str:9", "list:1", "str:2"}) {
		t.Errorf("named keys: got %v", order)
	}
	if dbs, err := s.Databases(ctx); err != nil || !slices.Equal(dbs, []int{0}) {
		t.Errorf("databases: %v %v", dbs, err)
	}
	for range s.Scan(ctx, live.ScanOptions{}) {
		break // a consumer may stop at any time
	}
}

// While writers set a value and its expiry together, a reader must never see the
// one with the other's: value n comes with an expiry that ends in n.
func TestScanKeepsValueAndExpiryTogether(t *testing.T) {
	r := redistest.Start(t)
	const keys = 200
	for i := range keys {
		r.Do("SET", fmt.Sprintf("stay:%d", i), "x")
	}
	stop, ctx := make(chan struct{}), context.Background()
	base := time.Now().Add(time.Hour).UnixMilli() / 1000 * 1000
	var wg sync.WaitGroup
	for w := range 2 {
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				key, v := fmt.Sprintf("pair:%d", (n*2+w)%20), n%1000
				pipe := r.Client().Pipeline()
				pipe.Do(ctx, "SET", key, fmt.Sprintf("v%03d", v), "PXAT", base+int64(v))
				pipe.Do(ctx, "SET", fmt.Sprintf("come:%d", n), "x")
				pipe.Do(ctx, "DEL", fmt.Sprintf("come:%d", n-50))
				_, _ = pipe.Exec(ctx)
			}
		})
	}
	s := dial(t, r.URL(), live.Options{ReadOnly: true})
	pairs := 0
	for range 15 {
		stay := map[string]bool{}
		for d, err := range s.Scan(ctx, live.ScanOptions{Count: 20}) {
			if err != nil {
				t.Fatal(err)
			}
			key := string(d.Key)
			if strings.HasPrefix(key, "stay:") {
				stay[key] = true
			}
			if strings.HasPrefix(key, "pair:") {
				pairs++
				if want := fmt.Sprintf("v%03d", d.ExpireAt%1000); !strings.Contains(string(d.Payload), want) {
					t.Errorf("%s: expiry ends in %s, payload %q", key, want, d.Payload)
				}
			}
		}
		if len(stay) != keys {
			t.Errorf("keys that stayed: got %d, want %d", len(stay), keys)
		}
	}
	close(stop)
	wg.Wait()
	if pairs == 0 {
		t.Error("no pair was ever seen")
	}
}

func TestScanEndsWhenTheServerDiesOrTheCallerCancels(t *testing.T) {
	r := redistest.Start(t)
	fill(r, 2000)
	s := dial(t, r.URL(), live.Options{})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var last error
	for _, last = range s.Scan(ctx, live.ScanOptions{Count: 10}) {
		cancel()
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("cancelled: got %v", last)
	}
	n := 0
	for _, err := range s.Scan(context.Background(), live.ScanOptions{Count: 10}) {
		if n++; n == 100 {
			r.Kill()
		}
		last = err
	}
	if !errors.Is(last, live.ErrUnreachable) {
		t.Errorf("killed: got %v, want %v", last, live.ErrUnreachable)
	}
}

func TestLargeValuesAreReadInSmallSteps(t *testing.T) {
	r := redistest.Start(t)
	for i := range 12 {
		r.Do("SET", fmt.Sprintf("big:%d", i), strings.Repeat("0123456789abcdef", 512<<10)) // 8 MiB
	}
	s := dial(t, r.URL(), live.Options{})
	n := 0
	for d, err := range s.Scan(context.Background(), live.ScanOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
		if len(d.Payload) == 0 {
			t.Error("empty payload")
		}
	}
	if n < 12 {
		t.Errorf("got %d values, want 12", n)
	}
}
