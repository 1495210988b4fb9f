package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"rqvault/internal/doctor"
	"rqvault/internal/live"
	"rqvault/internal/snapshot"
)

// Host looks at this machine, if Redis runs on it: the connection did not leave it, and
// the process that Redis says it is is there. In a container it is not.
func (p *patient) Host(_ context.Context, s *doctor.Server) *doctor.Host {
	if !p.probe.Server.SameHost() || !isRedis(s.Info["process_id"]) {
		return nil
	}
	h := &doctor.Host{Dir: s.Settings["dir"], Free: -1, DirProblem: s.SettingsProblem}
	h.Memory, h.Available = memory()
	h.Overcommit = firstLine("/proc/sys/vm/overcommit_memory")
	h.HugePages = chosen(firstLine("/sys/kernel/mm/transparent_hugepage/enabled"))
	if dir, told := s.Settings["dir"]; told && dir == "" { // what it is when it is gone
		h.Dir, _ = os.Readlink("/proc/" + s.Info["process_id"] + "/cwd")
		h.Dir = strings.TrimSuffix(h.Dir, " (deleted)")
	}
	if h.Dir == "" {
		return h
	}
	switch _, err := os.Stat(h.Dir); {
	case errors.Is(err, fs.ErrNotExist):
		h.DirGone = true
	case err != nil:
		h.DirProblem = err.Error()
	default:
		if free, known := live.FreeSpace(h.Dir); known {
			h.Free = int64(free)
		}
	}
	if st, err := os.Stat(filepath.Join(h.Dir, s.Settings["dbfilename"])); err == nil && st.Mode().IsRegular() {
		h.Dump = st.Size()
	}
	return h
}

// isRedis reports whether the process of that id is a Redis or a Valkey.
func isRedis(pid string) bool {
	n, err := strconv.Atoi(pid)
	if err != nil {
		return false
	}
	name := firstLine(fmt.Sprintf("/proc/%d/comm", n))
	return strings.HasPrefix(name, "redis") || strings.HasPrefix(name, "valkey")
}

// firstLine is empty where there is none.
func firstLine(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return strings.TrimSpace(line)
}

// chosen is the word in brackets.
func chosen(line string) string {
	_, rest, _ := strings.Cut(line, "[")
	word, _, _ := strings.Cut(rest, "]")
	return word
}

// memory is how many bytes the machine has, and how many of them can be had.
func memory() (all, available int64) {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, 0
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		n, err := strconv.ParseInt(f[1], 10, 64)
		switch {
		case err != nil:
		case f[0] == "MemTotal:":
			all = n << 10
		case f[0] == "MemAvailable:":
			available = n << 10
		}
	}
	return all, available
}

// usualLogs are where packages let Redis write its log.
var usualLogs = []string{"/var/log/redis/redis-server.log", "/var/log/redis/redis.log", "/var/log/valkey/valkey.log"}

// logEnd is how much of a log is read.
const logEnd = 64 << 10

// Log reads the log that --redis-log names, or that a Redis on this machine says it
// writes. If it is down, its log may be where packages put it.
func (p *patient) Log(_ context.Context, s *doctor.Server) *doctor.Log {
	path := p.c.String("redis-log")
	switch {
	case path != "":
	case s == nil:
		path = p.usualLog()
	case p.probe.Server.SameHost() && isRedis(s.Info["process_id"]) && s.Settings["logfile"] != "":
		path = s.Settings["logfile"]
		if !filepath.IsAbs(path) {
			path = filepath.Join(s.Settings["dir"], path)
		}
	}
	if path == "" {
		return nil
	}
	l := &doctor.Log{Path: path}
	text, err := tail(path, logEnd)
	if err != nil {
		l.Problem = err.Error()
	}
	l.Lines = doctor.ReadLog(text, p.e.now())
	return l
}

func (p *patient) usualLog() string {
	ip := net.ParseIP(p.host())
	if p.target.Network != "unix" && p.host() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return ""
	}
	for _, path := range usualLogs {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return ""
}

// tail reads the last n bytes of a file, from the beginning of a line.
func tail(path string, n int64) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	if err != nil {
		return "", err
	}
	if !st.Mode().IsRegular() {
		return "", errors.New("it is no file")
	}
	from := max(0, st.Size()-n)
	b, err := io.ReadAll(io.NewSectionReader(f, from, n))
	text := string(b)
	if from > 0 {
		_, text, _ = strings.Cut(text, "\n")
	}
	return text, err
}

// Store looks for snapshots if a store is named.
func (p *patient) Store(ctx context.Context) *doctor.Store {
	if !p.c.IsSet("store") {
		return nil
	}
	out := &doctor.Store{}
	if err := p.snapshots(ctx, out); err != nil && !errors.Is(err, snapshot.ErrNoStore) && !errors.Is(err, snapshot.ErrNoSnapshot) {
		out.Problem = oneLine(err)
	}
	return out
}

func (p *patient) snapshots(ctx context.Context, out *doctor.Store) error {
	cat, err := p.e.catalog(p.c)
	if err != nil {
		return err
	}
	ids, err := cat.IDs(ctx)
	if err != nil || len(ids) == 0 {
		return err
	}
	proofs, err := cat.Verified(ctx)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if proof := proofs[id]; !proof.Damaged() && !proof.FailedDrill() && (!proof.OK.IsZero() || !proof.DrillOK.IsZero()) {
			out.Verified = id.Time()
		}
	}
	last := ids[len(ids)-1]
	m, err := cat.Manifest(ctx, last)
	if err != nil {
		return err
	}
	then := m.Lineage.After
	if then.RunID == "" {
		then = m.Lineage.Before
	}
	proof := proofs[last]
	out.Newest = &doctor.Snapshot{ID: string(last), At: m.CreatedAt, Failed: proof.Damaged() || proof.FailedDrill(),
		RunID: then.RunID, ReplID: then.Replication.MasterReplID}
	return nil
}
