package index

import "rqvault/internal/job"

// PlainRole is the role of a key of the library's that is restored like any other.
const PlainRole = "plain"

// roleName is what keys.parquet says of a key.
func roleName(k job.Key) string {
	switch k.Role {
	case job.Hash, job.Owned:
		return string(k.Part)
	case job.List, job.Registry, job.Members:
		return string(k.Place)
	case job.QueueList:
		return "queues"
	case job.GroupList:
		return "groups"
	case job.Plain:
		return PlainRole
	case job.Volatile, job.WorkerHash:
		return "volatile"
	case job.Unknown:
		return "unknown"
	}
	return ""
}
