package verify

import (
	"fmt"
	"slices"

	"rqvault/internal/job"
)

// keys checks what is true of the keyspace besides its jobs.
func (c *checker) keys() {
	m := c.o.Marks
	if m == nil {
		return
	}
	for _, k := range m.mistyped {
		c.key("queue-wrong-type", k, "its type is not the one RQ gives it: rename it away")
	}
	for _, k := range m.endless {
		c.key("volatile-without-ttl", k, "it has no expiry")
	}
	for _, k := range m.suspended {
		c.key("suspended-left", k, fmt.Sprintf("it has no expiry, and workers wait until it is gone: rq resume, or DEL %s in database %d", k.Key, k.DB))
	}
	for _, k := range m.lists {
		if !slices.Contains(c.o.Registered[fmt.Sprint(k.DB)], k.Key) {
			c.key("queue-not-registered", k, "the set of queues does not have it")
		}
	}
}

func (c *checker) key(name string, k Mark, detail string) {
	b := c.add(name, nil, nil, "%s", detail)
	b.DB, b.Key, b.Flag = k.DB, k.Key, k.Flag
	if name == "volatile-without-ttl" && k.Flag == job.Suspends {
		b.Repair = ""
	}
}
