package restore

import (
	"fmt"

	"rqvault/internal/job"
	"rqvault/internal/keyspace"
	"rqvault/internal/rdb"
)

// masked returns the commands that make a job's hash or results without their payloads.
// It decodes the value and writes only what the schema lets through.
func masked(key string, rec *keyspace.Record, schema job.Schema, part job.PartName) ([][]any, error) {
	v, err := rdb.Decode(rec)
	if err != nil {
		return nil, fmt.Errorf("it cannot be masked: %w", err)
	}
	var out [][]any
	switch v.Kind {
	case keyspace.Hash:
		command := []any{"HSET", key}
		var expiries [][]any
		for _, f := range v.Hash {
			seen, keep := schema.Mask(part, f.Field, f.Value)
			if !keep {
				continue
			}
			command = append(command, f.Field, seen)
			if f.ExpireAt != 0 {
				expiries = append(expiries, []any{"HPEXPIREAT", key, f.ExpireAt, "FIELDS", 1, f.Field})
			}
		}
		if len(command) == 2 {
			command = append(command, "masked", "1") // a hash without fields does not exist
		}
		out = append(append(out, command), expiries...)
	case keyspace.Stream:
		for i, e := range v.Stream.Entries {
			v.Stream.Entries[i].Fields = maskEntry(e.Fields, schema, part)
		}
		out = stream(out, key, v.Stream)
	default:
		return nil, fmt.Errorf("it cannot be masked: it is a %s", v.Kind)
	}
	if rec.ExpireAt != 0 {
		out = append(out, []any{"PEXPIREAT", key, rec.ExpireAt})
	}
	return out, nil
}

// maskEntry returns what may be seen of one result.
func maskEntry(fields []rdb.Pair, schema job.Schema, part job.PartName) []rdb.Pair {
	var out []rdb.Pair
	for _, p := range fields {
		if seen, keep := schema.Mask(part, p.Field, p.Value); keep {
			out = append(out, rdb.Pair{Field: p.Field, Value: seen})
		}
	}
	if len(out) == 0 {
		out = append(out, rdb.Pair{Field: []byte("masked"), Value: []byte("1")}) // an entry has a field at least
	}
	return out
}
