package restore

import (
	"fmt"

	"rqvault/internal/keyspace"
	"rqvault/internal/rdb"
)

// logical returns the commands that make a value anew, for servers that refuse RESTORE.
// Each command is a list of arguments; large values take several.
func logical(key string, rec *keyspace.Record) ([][]any, error) {
	v, err := rdb.Decode(rec)
	if err != nil {
		return nil, err
	}
	var out [][]any
	switch v.Kind {
	case keyspace.String:
		out = append(out, []any{"SET", key, v.String})
	case keyspace.List:
		out = batches(out, []any{"RPUSH", key}, len(v.List), func(i int) []any { return []any{v.List[i]} })
	case keyspace.Set:
		out = batches(out, []any{"SADD", key}, len(v.Set), func(i int) []any { return []any{v.Set[i]} })
	case keyspace.ZSet:
		out = batches(out, []any{"ZADD", key}, len(v.ZSet), func(i int) []any { return []any{scoreText(v.ZSet[i].Score), v.ZSet[i].Member} })
	case keyspace.Hash:
		out = batches(out, []any{"HSET", key}, len(v.Hash), func(i int) []any { return []any{v.Hash[i].Field, v.Hash[i].Value} })
		for _, f := range v.Hash {
			if f.ExpireAt != 0 {
				out = append(out, []any{"HPEXPIREAT", key, f.ExpireAt, "FIELDS", 1, f.Field})
			}
		}
	case keyspace.Stream:
		out = stream(out, key, v.Stream)
	default:
		return nil, fmt.Errorf("a value of type %d can only be put back by RESTORE", rec.Type)
	}
	if rec.ExpireAt != 0 {
		out = append(out, []any{"PEXPIREAT", key, rec.ExpireAt})
	}
	return out, nil
}

// batches appends commands that carry n elements, some at a time.
func batches(out [][]any, head []any, n int, element func(int) []any) [][]any {
	for i := 0; i < n; {
		command := append([]any(nil), head...)
		for ; i < n && len(command) < membersPerStep; i++ {
			command = append(command, element(i)...)
		}
		out = append(out, command)
	}
	return out
}

// stream makes entries, last id and groups anew. What no command can set is left out:
// which entries a group was given and has not acknowledged is claimed anew.
func stream(out [][]any, key string, s *rdb.Stream) [][]any {
	for _, e := range s.Entries {
		command := []any{"XADD", key, e.ID.String()}
		for _, f := range e.Fields {
			command = append(command, f.Field, f.Value)
		}
		out = append(out, command)
	}
	if len(s.Entries) == 0 { // a stream can be empty and still know its last id
		out = append(out, []any{"XADD", key, "MAXLEN", 0, "0-1", "x", "x"})
	}
	out = append(out, []any{"XSETID", key, s.LastID.String()})
	for _, g := range s.Groups {
		out = append(out, []any{"XGROUP", "CREATE", key, g.Name, g.LastID.String()})
		for _, p := range g.Pending {
			out = append(out, []any{"XCLAIM", key, g.Name, p.Consumer, 0, p.ID.String(),
				"TIME", p.DeliveredAt, "RETRYCOUNT", p.Deliveries, "FORCE", "JUSTID"})
		}
	}
	return out
}
