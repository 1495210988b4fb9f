package doctor

import "strings"

// Right is whether the user may run one command.
type Right struct {
	Command string // as ACL rules name it, such as config|get
	Allowed bool
	Known   bool
}

// Purpose is a command of rqvault's and what it needs of Redis, as docs/cli.md lists it.
type Purpose struct {
	Name     string
	Commands []string // as ACL rules name them
}

// Purposes lists what must be allowed. A backup needs one of its ways only; scan is the
// one that works everywhere.
var Purposes = []Purpose{
	{"backup --via scan", strings.Fields("ping info time select scan dump pttl pexpiretime memory|usage")},
	{"diff", strings.Fields("hscan exists")},
	{"restore --apply", strings.Fields("evalsha script|load restore hset hget hmget hexists sadd srem zadd zrem zscore lrem smembers hgetall lpush rpush lindex linsert lpos lrange llen ltrim " +
		"xadd xsetid pexpireat persist expire del hkeys hdel")},
}

func judgeRights(f *Facts) finding {
	s := f.Server
	told := map[string]Right{}
	for _, r := range s.Rights {
		told[r.Command] = r
	}
	var missing, purposes []string
	unclear := 0
	for _, p := range Purposes {
		lacks := false
		for _, name := range p.Commands {
			switch r := told[name]; {
			case !r.Known:
				unclear++
			case !r.Allowed:
				missing = append(missing, name)
				lacks = true
			}
		}
		if lacks {
			purposes = append(purposes, p.Name)
		}
	}
	switch {
	case len(missing) > 0:
		return warn("the user may not run %s: %s will be refused (docs/cli.md lists the rights)", names(missing), strings.Join(purposes, " and ")).
			with("missing", missing).with("user", s.User)
	case unclear > 0:
		return unknown("%d of the rights could not be asked about: %s", unclear, s.RightsProblem).with("user", s.User)
	}
	return ok("the user may do all that backup, diff and restore need").with("user", s.User)
}
