package index

import (
	"slices"

	"rqvault/internal/job"
	"rqvault/internal/keyspace"
	"rqvault/internal/rdb"
)

// Sight is one id, seen in a list, registry or set of which no more was read.
type Sight struct {
	DB       int
	Key      []byte
	Kind     keyspace.Kind // of the key
	Member   []byte
	Position int64 // in a list
	Score    float64
}

// AddSight takes one. Every position of an id must be given, and what is in doubt settled
// by the records of the jobs themselves, as ever.
func (b *Builder) AddSight(s Sight) error {
	c := &b.cur
	c.key, c.db = b.schema.Classify(s.Key, s.Kind), s.DB
	if r := c.key.Role; r != job.List && r != job.Registry && r != job.Members {
		return nil
	}
	if c.key.Role == job.List && c.key.Place != job.InQueue {
		b.ambiguous[ambiguity(s.DB, c.key.Place, string(c.key.Queue))] = slices.Clone(s.Key)
	}
	c.queue, c.pos = string(c.key.Queue), s.Position
	return b.addPlace(rdb.Element{Member: s.Member, Score: s.Score})
}
