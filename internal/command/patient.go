package command

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"rqvault/internal/doctor"
	"rqvault/internal/live"
)

// patient is a Redis and its surroundings in the words of doctor.
type patient struct {
	e      *env
	c      *cli.Context
	target live.Target
	probe  live.Probe
}

var _ doctor.Patient = (*patient)(nil)

// glance is how long one answer of a server that is examined may take.
const glance = 3 * time.Second

func (p *patient) close() {
	if p.probe.Server != nil {
		_ = p.probe.Server.Close()
	}
}

// host is the host that the target names.
func (p *patient) host() string {
	host, _, err := net.SplitHostPort(p.probe.Target.Addr)
	if err != nil {
		return p.probe.Target.Addr
	}
	return host
}

func (p *patient) Reach(ctx context.Context) (doctor.Reach, bool) {
	p.probe = live.Reach(ctx, p.target, live.Options{ReadOnly: true, DialTimeout: glance, IdleTimeout: glance})
	t := p.probe.Target
	r := doctor.Reach{Where: t.Addr, Socket: t.Network == "unix", TLS: t.TLS != nil, Addrs: p.probe.Addrs, CertEnds: p.probe.CertEnds}
	if r.Where == "" {
		r.Where = t.String()
	} else {
		p.e.target = t.String() // of sentinels, the master
	}
	if p.probe.Err != nil {
		r.Cause, r.Text = causeOf(p.probe), reason(p.probe.Err)
	}
	return r, p.probe.Server != nil
}

// reason is the part of an error that says why, in one line.
func reason(err error) string {
	text := oneLine(err)
	var reply *live.ReplyError
	if errors.As(err, &reply) {
		return clean(reply.Text)
	}
	for _, cause := range []error{live.ErrUnreachable, live.ErrTLS} {
		if _, after, is := strings.Cut(text, cause.Error()+": "); is {
			text = after
		}
	}
	return text
}

// causeOf tells why Redis was not reached.
func causeOf(p live.Probe) doctor.Cause {
	var late net.Error
	switch p.Failed {
	case live.AtSentinels:
		return doctor.NoMaster
	case live.AtName:
		return doctor.NoName
	case live.AtTLS:
		return tlsCause(p.Err)
	case live.AtAnswer:
		return answerCause(p.Err)
	}
	switch {
	case errors.Is(p.Err, syscall.ENOENT):
		return doctor.NoSocket
	case errors.Is(p.Err, syscall.ECONNREFUSED):
		return doctor.Refused
	case errors.As(p.Err, &late) && late.Timeout():
		return doctor.NoAnswer
	}
	return doctor.Unconnected
}

func tlsCause(err error) doctor.Cause {
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return doctor.Expired
	case errors.As(err, &unknown):
		return doctor.Untrusted
	case errors.As(err, &name):
		return doctor.WrongHost
	}
	return doctor.BadTLS
}

func answerCause(err error) doctor.Cause {
	var reply *live.ReplyError
	said := errors.As(err, &reply)
	switch {
	case errors.Is(err, live.ErrAuth) && said && reply.Code() == "NOAUTH":
		return doctor.NoPassword
	case errors.Is(err, live.ErrAuth):
		return doctor.WrongPassword
	case errors.Is(err, live.ErrNotRedis):
		return doctor.NotRedis
	case errors.Is(err, live.ErrNoDB):
		return doctor.NoDB
	case errors.Is(err, live.ErrSilent):
		return doctor.Silent
	case said && reply.Code() == "BUSY":
		return doctor.Busy
	case said && strings.Contains(reply.Text, "max number of clients"):
		return doctor.Full
	}
	return doctor.Faulty
}

// judgedSettings are those that a check looks at.
var judgedSettings = []string{"save", "appendonly", "appendfsync", "stop-writes-on-bgsave-error", "min-replicas-to-write", "maxclients",
	"disable-thp", "dir", "dbfilename", "logfile"}

// How much is asked of a server: pings, and entries of the slow log.
const (
	pings       = 9
	slowEntries = 128
)

func (p *patient) Server(ctx context.Context) *doctor.Server {
	s := p.probe.Server
	out := &doctor.Server{Info: doctor.Fields{}, Settings: doctor.Fields{}}
	for range pings {
		took, err := s.Ping(ctx)
		if err != nil {
			out.PingProblem = reason(err)
			break
		}
		out.Pings = append(out.Pings, took)
	}
	info, err := s.Info(ctx, "all")
	if err != nil {
		info, err = s.Info(ctx, "")
	}
	if err != nil {
		out.InfoProblem = reason(err)
	} else {
		out.Info = info
	}
	known, err := s.Settings(ctx, judgedSettings...)
	if out.Settings = known; err != nil {
		out.SettingsProblem = reason(err)
	}
	out.Now, _ = s.Clock(ctx)
	slow, err := s.SlowLog(ctx, slowEntries)
	if err != nil {
		out.SlowProblem = reason(err)
	}
	for _, c := range slow {
		out.Slow = append(out.Slow, doctor.SlowCommand(c))
	}
	out.LargestOutput, _ = s.LargestOutput(ctx) // where it is refused, INFO has the sums
	if out.Info["cluster_enabled"] == "1" {
		out.Cluster, _ = s.ClusterInfo(ctx)
	}
	if out.Info["loading"] != "1" {
		p.rights(ctx, out)
	}
	return out
}

// probeKey is asked about and never written.
const probeKey = "rq:rqvault-doctor"

// arguments are what commands are asked about with; the others take the key alone.
var arguments = map[string]string{"ping": "", "info": "", "time": "", "scan": "0", "hscan": "KEY 0", "evalsha": "0 0", "script|load": "x",
	"restore": "KEY 0 x", "hset": "KEY f v", "hget": "KEY f", "hmget": "KEY f", "hexists": "KEY f", "sadd": "KEY m", "srem": "KEY m",
	"zadd": "KEY 0 m", "zrem": "KEY m", "zscore": "KEY m", "lrem": "KEY 0 m", "lpush": "KEY m", "rpush": "KEY m", "lindex": "KEY 0", "linsert": "KEY before a b",
	"lpos": "KEY m", "lrange": "KEY 0 0", "ltrim": "KEY 0 0", "xadd": "KEY * f v", "xsetid": "KEY 0-1", "pexpireat": "KEY 1", "expire": "KEY 1",
	"hdel": "KEY f"}

// asked is a command as it is asked about.
func (p *patient) asked(name string) []string {
	args, listed := arguments[name]
	if !listed {
		args = "KEY"
	}
	if name == "select" {
		args = strconv.Itoa(p.probe.Target.DB)
	}
	words := append(strings.Split(name, "|"), strings.Fields(args)...)
	for i, w := range words {
		if w == "KEY" {
			words[i] = probeKey
		}
	}
	return words
}

// rights asks Redis what the user may do. Where it does not say, what only reads is tried.
func (p *patient) rights(ctx context.Context, out *doctor.Server) {
	var names []string
	var asked [][]string
	for _, purpose := range doctor.Purposes {
		for _, name := range purpose.Commands {
			names, asked = append(names, name), append(asked, p.asked(name))
		}
	}
	user, err := p.probe.Server.Whoami(ctx)
	var may []bool
	if out.User = user; err == nil {
		may, err = p.probe.Server.MayRun(ctx, user, asked)
	}
	for i, name := range names {
		r := doctor.Right{Command: name, Known: err == nil}
		if err == nil {
			r.Allowed = may[i]
		} else {
			r.Allowed, r.Known = p.tried(ctx, name)
			out.RightsProblem = reason(err)
		}
		out.Rights = append(out.Rights, r)
	}
}

// tried runs a command on a key that is not there, if it only reads.
func (p *patient) tried(ctx context.Context, name string) (allowed, known bool) {
	var args []any
	for _, w := range p.asked(name) {
		args = append(args, w)
	}
	replies, err := p.probe.Server.Pipeline(ctx, p.probe.Target.DB, [][]any{args})
	if err != nil {
		return false, false // among others, because it writes
	}
	var refused *live.ReplyError
	if err, is := replies[0].(error); is && errors.As(err, &refused) && refused.Code() == "NOPERM" {
		return false, true
	}
	return true, true
}
