package verify

import (
	"rqvault/internal/index"
	"rqvault/internal/job"
	"rqvault/internal/keyspace"
)

// maxMarks bounds how many keys of one sort are remembered.
const maxMarks = 10000

// Mark is one key that tells something by being there.
type Mark struct {
	DB   int32
	Key  string
	Flag job.Flag
}

// Marks gathers, key by key, what is true of a keyspace besides its jobs.
type Marks struct {
	schema    job.Schema
	suspended []Mark             // flags that suspend workers
	endless   []Mark             // locks and signs of life that never expire
	mistyped  []Mark             // names of the library under another type
	lists     []Mark             // lists of waiting ids
	scheduled map[queueName]bool // queues that a scheduler serves
}

// NewMarks returns an empty Marks.
func NewMarks(schema job.Schema) *Marks {
	return &Marks{schema: schema, scheduled: map[queueName]bool{}}
}

// Reset forgets all keys.
func (m *Marks) Reset() { *m = *NewMarks(m.schema) }

// Note takes the next key.
func (m *Marks) Note(row *index.KeyRow) error {
	name := row.Name()
	k := m.schema.Classify(name, keyspace.ParseKind(row.Kind))
	mark := Mark{row.DB, string(name), k.Flag}
	add := func(to *[]Mark) {
		if len(*to) < maxMarks {
			*to = append(*to, mark)
		}
	}
	switch {
	case k.Wrong:
		add(&m.mistyped)
	case k.Role == job.List && k.Place == job.InQueue:
		add(&m.lists)
	case k.Flag == job.Suspends:
		if row.ExpireAt == 0 { // one with an expiry ends by itself
			add(&m.suspended)
		}
	case k.Flag != job.NoFlag && row.ExpireAt == 0:
		add(&m.endless)
	}
	if k.Flag == job.SchedulerLock {
		m.scheduled[queueName{row.DB, string(k.Queue)}] = true
	}
	return nil
}
