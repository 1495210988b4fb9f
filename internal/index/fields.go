package index

import "rqvault/internal/keyspace"

// JobFields are some fields of a live job's hash, and nothing else of it.
type JobFields struct {
	DB       int
	Key      []byte
	Names    [][]byte // of the fields
	Values   [][]byte // nil where the hash has no such field
	ExpireAt int64    // Unix milliseconds, 0 none
}

// AddFields takes a hash of which only some fields were read: those that tell a job's
// state. The job is known to have a payload, which was not read, so its row names no
// function, and its part has neither length nor digest.
func (b *Builder) AddFields(f JobFields) error {
	rec := keyspace.Record{DB: f.DB, Key: f.Key, Kind: keyspace.Hash, ExpireAt: f.ExpireAt, Offset: -1}
	b.start(&rec, 0)
	row := &b.cur.row
	row.Exists = true
	for i, v := range f.Values {
		if v != nil {
			b.schema.Fill(row, &b.names, f.Names[i], v)
		}
	}
	return b.finish(&rec)
}
