package live

import (
	"context"
	"fmt"
	"net"
	"strings"

	"github.com/redis/go-redis/v9"
)

// guard is the hook that keeps a read-only Server read-only. Every command of
// every connection passes it, the ones of the login included.
type guard struct{}

type savePermit struct{}

// permitSave lets one BGSAVE through the guard. Only SaveRDB asks for it: a save
// changes no key, but it forks the server, so a stray one is refused.
func permitSave(ctx context.Context) context.Context {
	return context.WithValue(ctx, savePermit{}, true)
}

func (guard) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (guard) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if err := checkRead(ctx, cmd); err != nil {
			cmd.SetErr(err)
			return err
		}
		return next(ctx, cmd)
	}
}

func (guard) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		for _, cmd := range cmds {
			if err := checkRead(ctx, cmd); err != nil {
				for _, c := range cmds {
					c.SetErr(err)
				}
				return err
			}
		}
		return next(ctx, cmds)
	}
}

func checkRead(ctx context.Context, cmd redis.Cmder) error {
	if isRead(cmd.Args()) || cmd.Name() == "bgsave" && ctx.Value(savePermit{}) != nil {
		return nil
	}
	return fmt.Errorf("%w: %s is not a known reading command", ErrReadOnly, strings.ToUpper(cmd.Name()))
}

// isRead reports whether a command is on the list of those that change nothing.
func isRead(args []any) bool {
	if len(args) == 0 {
		return false
	}
	name := word(args[0])
	sub, container := readContainers[name]
	if !container {
		return readCommands[name]
	}
	return len(args) > 1 && strings.Contains(sub, " "+word(args[1])+" ")
}

func word(arg any) string {
	switch v := arg.(type) {
	case string:
		return strings.ToLower(v)
	case []byte:
		return strings.ToLower(string(v))
	}
	return ""
}

// readCommands lists what is let through. Left out on purpose, though they read at
// first sight: SORT, GEORADIUS and BITFIELD (have storing forms), GETEX, GETDEL,
// TOUCH, PFCOUNT, XREADGROUP, blocking commands, EVAL in every form.
var readCommands = set(
	// the connection
	"hello", "auth", "select", "ping", "echo",
	// the server
	"info", "time", "lastsave", "role", "dbsize", "command",
	// keys
	"scan", "exists", "type", "ttl", "pttl", "expiretime", "pexpiretime", "dump", "randomkey", "keys",
	// values
	"get", "mget", "strlen", "getrange", "substr", "getbit", "bitcount", "bitpos", "bitfield_ro", "lcs",
	"llen", "lrange", "lindex", "lpos",
	"hget", "hmget", "hgetall", "hlen", "hstrlen", "hexists", "hkeys", "hvals", "hscan", "hrandfield",
	"httl", "hpttl", "hexpiretime", "hpexpiretime",
	"scard", "smembers", "sismember", "smismember", "sscan", "srandmember", "sinter", "sunion", "sdiff", "sintercard",
	"zcard", "zcount", "zlexcount", "zrange", "zrangebyscore", "zrangebylex", "zrevrange", "zrevrangebyscore",
	"zrevrangebylex", "zscore", "zmscore", "zrank", "zrevrank", "zscan", "zrandmember",
	"xlen", "xrange", "xrevrange", "xread", "xpending",
	"geopos", "geodist", "geohash", "geosearch", "sort_ro",
)

// readContainers lists the harmless subcommands of commands that have both kinds.
var readContainers = map[string]string{
	"config":   " get ",
	"memory":   " usage stats ",
	"object":   " encoding freq idletime refcount ",
	"xinfo":    " stream groups consumers ",
	"pubsub":   " channels numsub numpat ",
	"client":   " id getname info list ",
	"acl":      " whoami dryrun ",
	"function": " list dump stats ",
	"module":   " list ",
	"cluster":  " info nodes slots shards myid countkeysinslot keyslot ",
	"latency":  " latest history ",
	"script":   " exists ",
	"slowlog":  " get len ",
	"sentinel": " get-master-addr-by-name masters master replicas sentinels ckquorum ",
}

func set(names ...string) map[string]bool {
	m := make(map[string]bool, len(names))
	for _, n := range names {
		m[n] = true
	}
	return m
}
