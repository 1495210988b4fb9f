package rdb_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"rqvault/internal/keyspace"
	"rqvault/internal/rdb"
)

// server is a real redis-server of this test's own, on a unix socket.
type server struct {
	t    testing.TB
	dir  string
	conn net.Conn
	in   *bufio.Reader
}

// startServer starts redis-server with a dump to load, or none if it is nil, and
// stops it when the test ends.
func startServer(t testing.TB, dump []byte, args ...string) *server {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatalf("redis-server is needed: %v", err)
	}
	dir, err := os.MkdirTemp("/tmp", "rqv") // short, for the socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if dump != nil {
		if err := os.WriteFile(filepath.Join(dir, "dump.rdb"), dump, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var log bytes.Buffer
	cmd := exec.Command(path, append([]string{"--port", "0", "--unixsocket", dir + "/s", "--dir", dir, "--save", "",
		"--enable-debug-command", "local", "--activerehashing", "no"}, args...)...)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	s := &server{t: t, dir: dir}
	for end := time.Now().Add(20 * time.Second); ; {
		if s.conn, err = net.Dial("unix", dir+"/s"); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("redis-server does not answer: %v\n%s", err, log.String())
		}
	}
	t.Cleanup(func() { _ = s.conn.Close() })
	s.in = bufio.NewReader(s.conn)
	for {
		if reply, err := s.try("PING"); err == nil && string(reply) == "PONG" {
			return s
		} else if err != nil && !strings.HasPrefix(err.Error(), "LOADING") {
			t.Fatalf("redis-server: %v\n%s", err, log.String())
		}
	}
}

// try sends a command and returns a simple or bulk reply; nil is a null reply.
func (s *server) try(args ...string) ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	if _, err := s.conn.Write(b.Bytes()); err != nil {
		return nil, err
	}
	line, err := s.in.ReadString('\n')
	if err != nil {
		return nil, err
	}
	line = strings.TrimRight(line, "\r\n")
	switch line[0] {
	case '-':
		return nil, fmt.Errorf("%s", line[1:])
	case '*':
		n, _ := strconv.Atoi(line[1:])
		for range n {
			if _, err = s.in.ReadString('\n'); err != nil {
				return nil, err
			}
		}
		return []byte(line[1:]), nil
	case '$':
		n, err := strconv.Atoi(line[1:])
		if err != nil || n < 0 {
			return nil, err
		}
		reply := make([]byte, n+2)
		_, err = io.ReadFull(s.in, reply)
		return reply[:n], err
	}
	return []byte(line[1:]), nil
}

func (s *server) do(args ...string) string {
	s.t.Helper()
	reply, err := s.try(args...)
	if err != nil {
		s.t.Fatalf("%.100q: %v", args, err)
	}
	return string(reply)
}

// save makes the server write its dump and returns it.
func (s *server) save() []byte {
	s.t.Helper()
	s.do("SAVE")
	b, err := os.ReadFile(filepath.Join(s.dir, "dump.rdb"))
	if err != nil {
		s.t.Fatal(err)
	}
	return b
}

// digest selects the key's database and returns the server's digest of its value,
// which comes as an array of one.
func (s *server) digest(r *keyspace.Record) string {
	s.t.Helper()
	s.do("SELECT", strconv.Itoa(r.DB))
	fmt.Fprintf(s.conn, "*3\r\n$5\r\nDEBUG\r\n$12\r\nDIGEST-VALUE\r\n$%d\r\n%s\r\n", len(r.Key), r.Key)
	head, err := s.in.ReadString('\n')
	if err != nil || head != "*1\r\n" {
		s.t.Fatalf("digest of %q: %q, %v", r.Key, head, err)
	}
	line, err := s.in.ReadString('\n')
	if line[0] == '$' {
		line, err = s.in.ReadString('\n')
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.Trim(line, "+\r\n")
}

// fill puts random keys of every type and size into the server.
func (s *server) fill(keys int) {
	s.t.Helper()
	s.do("EVAL", `
math.randomseed(42)
local pool = {}
for i = 1, 30000 do pool[i] = string.char(i % 7000 > 3500 and math.random(0, 255) or 97 + i % 5) end
pool = table.concat(pool)
local function text(n)
  local at = math.random(1, #pool - n)
  return string.sub(pool, at, at + n - 1)
end
local function any()
  local k = math.random(1, 6)
  if k == 1 then return tostring(math.random(-200, 200)) end
  if k == 2 then return tostring(math.random(-9007199, 9007199) * 1000003) end
  if k == 3 then return text(math.random(0, 100)) end
  if k == 4 then return text(math.random(0, 9000)) end
  return text(math.random(0, 20))
end
for i = 1, tonumber(ARGV[1]) do
  local key, size, k = 'fill:' .. i .. text(math.random(0, 30)), math.random(1, 12), math.random(1, 6)
  if math.random(1, 15) == 1 then size = 700 end
  for j = 1, size do
    if k == 1 then redis.call('set', key, any())
    elseif k == 2 then redis.call('rpush', key, any())
    elseif k == 3 then redis.call('sadd', key, size > 600 and any() or (i % 2 == 0 and math.random(-70000, 70000) or any()))
    elseif k == 4 then redis.call('zadd', key, math.random(-100, 100) / 8, any())
    elseif k == 5 then redis.call('hset', key, any(), any())
    else redis.call('xadd', key, j .. '-' .. math.random(1, 9), 'a', any(), any(), 'b') end
  end
  if math.random(1, 3) == 1 then redis.call('pexpireat', key, 4102444800000 + i) end
end
return 1`, "0", strconv.Itoa(keys))
}

// The payload cut out of a server's own dump is, byte for byte, what that server
// gives for DUMP, and RESTORE of it makes a value with the same digest.
func TestPayloadsAgainstServer(t *testing.T) {
	for name, d := range realDumps(t) {
		t.Run(name, func(t *testing.T) { checkPayloads(t, startServer(t, d)) })
	}
	t.Run("filled", func(t *testing.T) {
		s := startServer(t, nil)
		s.fill(800)
		checkPayloads(t, s)
	})
}

func checkPayloads(t *testing.T, s *server) {
	got := mustWalk(t, s.save(), rdb.Options{})
	for i := range got.records {
		r := &got.records[i]
		s.do("SELECT", strconv.Itoa(r.DB))
		dumped := s.do("DUMP", string(r.Key))
		p := rdb.Payload(nil, r)
		if body := len(p) - 10; body < 1 || len(dumped) != len(p) || string(p[:body]) != dumped[:body] {
			t.Fatalf("payload of %q, type %d, is not the server's", r.Key, r.Type)
		}
		before := s.digest(r)
		s.do("DEL", string(r.Key))
		s.do("RESTORE", string(r.Key), strconv.FormatInt(r.ExpireAt, 10), string(p), "ABSTTL")
		if after := s.digest(r); after != before || strings.Trim(after, "0") == "" {
			t.Errorf("%q: digest %s after RESTORE, %s before", r.Key, after, before)
		}
		typ, version, raw, err := rdb.ParsePayload([]byte(dumped))
		if err != nil || typ != r.Type || version != 10 || !bytes.Equal(raw, r.Raw) {
			t.Errorf("%q: server's DUMP parses as type %d, version %d, %d bytes: %v", r.Key, typ, version, len(raw), err)
		}
	}
}

// Values that no server writes any more are read the way a server still reads them:
// it restores ours, and has the same elements when asked for its own form of them.
func TestOldEncodingsAgainstServer(t *testing.T) {
	s := startServer(t, nil)
	for _, set := range []string{"list-max-listpack-size", "hash-max-listpack-entries", "zset-max-listpack-entries", "set-max-intset-entries"} {
		s.do("CONFIG", "SET", set, "1")
	}
	checked := 0
	for _, c := range values() {
		if c.want == nil || c.typ > 18 || c.name == "empty list" || c.name == "nan zset" {
			continue
		}
		rec := record(c.typ, c.format, c.raw)
		s.do("RESTORE", c.name, "0", string(rdb.Payload(nil, rec)))
		typ, version, raw, err := rdb.ParsePayload([]byte(s.do("DUMP", c.name)))
		if err != nil {
			t.Fatal(err)
		}
		got, want := elementsOf(t, record(typ, rdb.FormatOfPayload(version), raw)), slices.Clone(c.want)
		if rec.Kind != keyspace.List {
			slices.Sort(got)
			slices.Sort(want)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: server has %.300q, want %.300q", c.name, got, want)
		}
		checked++
	}
	if checked < 16 {
		t.Errorf("only %d values checked", checked)
	}
}

// A dump written from records loads in a server, and the server then holds the same.
func TestWriterAgainstServer(t *testing.T) {
	for _, name := range []string{"all.rdb", "rq.rdb", "lru.rdb"} {
		source := startServer(t, realDumps(t)[name])
		for _, o := range []rdb.Options{{}, {ChunkSize: 64, MaxValue: 256}} {
			records := mustWalk(t, source.save(), o).records
			var out bytes.Buffer
			w := rdb.NewWriter(&out, redis10)
			if err := w.Aux("rqvault", "test"); err != nil {
				t.Fatal(err)
			}
			for i := range records {
				if err := w.Record(&records[i]); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			again := mustWalk(t, out.Bytes(), rdb.Options{})
			if again.sum.Aux["rqvault"] != "test" || again.sum.Checksum != rdb.Verified {
				t.Errorf("%s: %+v", name, again.sum)
			}
			copied := startServer(t, out.Bytes())
			if got, want := copied.do("DEBUG", "DIGEST"), source.do("DEBUG", "DIGEST"); got != want || strings.Trim(got, "0") == "" {
				t.Errorf("%s: digest %s, want %s", name, got, want)
			}
			for _, r := range again.records {
				copied.do("SELECT", strconv.Itoa(r.DB))
				if at := copied.do("PEXPIRETIME", string(r.Key)); at != strconv.FormatInt(max(r.ExpireAt, -1), 10) && !(r.ExpireAt == 0 && at == "-1") {
					t.Errorf("%s: %q expires at %s, want %d", name, r.Key, at, r.ExpireAt)
				}
			}
		}
	}
}

// A diskless full resync over the socket is walked to its end and no further.
func TestWalkFromReplicationLink(t *testing.T) {
	s := startServer(t, realDumps(t)["all.rdb"], "--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0")
	s.do("REPLCONF", "capa", "eof")
	if _, err := s.conn.Write([]byte("PSYNC ? -1\r\n")); err != nil {
		t.Fatal(err)
	}
	mark := ""
	for mark == "" {
		line, err := s.in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if rest, ok := strings.CutPrefix(line, "$EOF:"); ok {
			mark = strings.TrimSpace(rest)
		}
	}
	got, err := walk(s.in, rdb.Options{Trailing: true, ChunkSize: 8 << 10})
	if err != nil {
		t.Fatal(err)
	}
	rest := make([]byte, len(mark))
	if _, err := io.ReadFull(io.MultiReader(bytes.NewReader(got.rest), s.in), rest); err != nil || string(rest) != mark {
		t.Errorf("after the dump: %q, %v; want the mark %q", rest, err, mark)
	}
	if want := mustWalk(t, realDumps(t)["all.rdb"], rdb.Options{}); got.sum.Keys != want.sum.Keys || !slices.Equal(got.sum.DBs, want.sum.DBs) {
		t.Errorf("got %+v, want %+v", got.sum, want.sum)
	}
}
