package index

import (
	"rqvault/internal/job"
	"rqvault/internal/keyspace"
)

// Counts is what was seen.
type Counts struct {
	Keys, Jobs, Rows, Unknown int64
	Oversized                 int64 // ids too long to be a job's
	Kinds                     map[string]int64
	DBs                       map[int]int64
	Status                    map[string]int64
	Queues                    map[string]map[string]int64
}

// add adds what is counted while keys are read.
func (c *Counts) add(o *Counts) {
	c.Keys += o.Keys
	c.Unknown += o.Unknown
	c.Oversized += o.Oversized
	for db, n := range o.DBs {
		c.DBs[db] += n
	}
}

// tally is what jobs are counted by.
type tally struct {
	queue  string
	status job.Status
}

// Counts is what was seen; jobs are counted while Jobs runs.
func (b *Builder) Counts() Counts {
	c := b.counts
	c.Kinds, c.Status, c.Queues = map[string]int64{}, map[string]int64{}, map[string]map[string]int64{}
	for kind, n := range b.kinds {
		if n > 0 {
			c.Kinds[keyspace.Kind(kind).String()] = n
		}
	}
	for t, n := range b.jobs {
		c.Status[string(t.status)] += n
		if c.Queues[t.queue] == nil {
			c.Queues[t.queue] = map[string]int64{}
		}
		c.Queues[t.queue][string(t.status)] += n
	}
	return c
}
