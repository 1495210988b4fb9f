package rq

import (
	"rqvault/internal/job"
)

// The fields of a job's hash that the index takes.
const (
	fieldData = job.FirstField + iota
	fieldStatus
	fieldOrigin
	fieldDescription
	fieldWorkerName
	fieldGroupID
	fieldDependencyID
	fieldDependencyIDs
	fieldCreatedAt
	fieldEnqueuedAt
	fieldStartedAt
	fieldEndedAt
	fieldLastHeartbeat
	fieldTimeout
	fieldTTL
	fieldResultTTL
	fieldFailureTTL
	fieldRetriesLeft
	fieldRepeatsLeft
	fieldAtFront
	fieldAllowFailures
)

// Field says which field of a job's hash that is. `description` is read for the
// function's name only: the arguments after it are payload and stay out.
func (Schema) Field(name []byte) job.Field {
	switch string(name) {
	case payload:
		return fieldData
	case "status":
		return fieldStatus
	case "origin":
		return fieldOrigin
	case "description":
		return fieldDescription
	case "worker_name":
		return fieldWorkerName
	case "group_id":
		return fieldGroupID
	case "dependency_id":
		return fieldDependencyID
	case "dependency_ids":
		return fieldDependencyIDs
	case "created_at":
		return fieldCreatedAt
	case "enqueued_at":
		return fieldEnqueuedAt
	case "started_at":
		return fieldStartedAt
	case "ended_at":
		return fieldEndedAt
	case "last_heartbeat":
		return fieldLastHeartbeat
	case "timeout":
		return fieldTimeout
	case "ttl":
		return fieldTTL
	case "result_ttl":
		return fieldResultTTL
	case "failure_ttl":
		return fieldFailureTTL
	case "retries_left":
		return fieldRetriesLeft
	case "repeats_left":
		return fieldRepeatsLeft
	case "enqueue_at_front":
		return fieldAtFront
	case "allow_dependency_failures":
		return fieldAllowFailures
	case "success_callback_name", "failure_callback_name", "stopped_callback_name":
		return job.OwnField // found without asking the tables below, since most jobs have them
	}
	if visible[string(name)] || hidden[string(name)] {
		return job.OwnField
	}
	return job.ForeignField
}

// Wants reports whether the index needs the field.
func (s Schema) Wants(name []byte) bool { return s.Field(name) >= job.FirstField }

// Fill copies the field of that name into the row.
func (s Schema) Fill(row *job.Row, names *job.Names, name, value []byte) {
	if f := s.Field(name); f >= job.FirstField && !fill(row, names, f, value) && row.Problem == "" {
		row.Problem = unreadable(name)
	}
}

// FillField copies one field into the row. An unreadable value would make a worker exit,
// so it is noted in row.Problem by the field's name.
func (Schema) FillField(row *job.Row, names *job.Names, f job.Field, name, value []byte) {
	if !fill(row, names, f, value) && row.Problem == "" {
		row.Problem = unreadable(name)
	}
}

func unreadable(name []byte) string { return "unreadable field " + string(name) }

// fill copies one field and reports whether its value can be read.
func fill(row *job.Row, names *job.Names, f job.Field, value []byte) (ok bool) {
	if f == fieldData {
		row.Exists = true
		return true
	}
	if len(value) == 0 { // as many fields are: nothing is known
		return true
	}
	switch f {
	case fieldStatus:
		return fillStatus(row, names, value)
	case fieldOrigin:
		row.Queue = names.One(value)
		return true
	case fieldWorkerName:
		row.Worker = names.One(value)
		return true
	case fieldGroupID:
		row.Group = names.One(value)
		return true
	case fieldDescription:
		if name := funcOfCall(value); len(name) > 0 {
			row.Func = names.One(name)
		}
		return true
	case fieldCreatedAt:
		row.CreatedAt, ok = ParseTime(value)
	case fieldEnqueuedAt:
		row.EnqueuedAt, ok = ParseTime(value)
	case fieldStartedAt:
		row.StartedAt, ok = ParseTime(value)
	case fieldEndedAt:
		row.EndedAt, ok = ParseTime(value)
	case fieldLastHeartbeat:
		row.HeartbeatAt, ok = ParseTime(value)
	case fieldDependencyID:
		if len(row.Parents) == 0 {
			row.Parents = append(row.Parents, string(value))
		}
		return true
	case fieldDependencyIDs:
		return fillParents(row, value)
	default:
		return fillNumber(row, f, value)
	}
	return ok
}

func fillStatus(row *job.Row, names *job.Names, value []byte) bool {
	row.Status = job.Status(names.One(value))
	if row.Status.Known() {
		return true
	}
	row.Status = "unknown"
	return false
}
