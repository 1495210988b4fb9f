package rq

import "rqvault/internal/job"

// masked stands in place of a payload. It is no pickle and no JSON, so a worker that gets
// at the job fails it without running anything.
const masked = "masked by rqvault"

// visible lists the fields of a job's hash that hold no payload. What is not listed may
// hold one: meta, result, exc_info, webhooks with their addresses, and whatever a later
// RQ adds.
var visible = map[string]bool{
	"status": true, "origin": true, "created_at": true, "enqueued_at": true, "started_at": true, "ended_at": true,
	"last_heartbeat": true, "worker_name": true, "timeout": true, "ttl": true, "result_ttl": true, "failure_ttl": true,
	"dependency_id": true, "dependency_ids": true, "allow_dependency_failures": true, "enqueue_at_front": true,
	"enqueue_at_front_on_retry": true, "retries_left": true, "retry_intervals": true, "number_of_retries": true,
	"repeats_left": true, "repeat_intervals": true, "group_id": true, "success_callback_name": true,
	"success_callback_timeout": true, "failure_callback_name": true, "failure_callback_timeout": true,
	"stopped_callback_name": true, "stopped_callback_timeout": true, "rate_limit_key": true, "rate_limit_concurrency": true,
}

// visibleResult lists those of an entry of a job's results. RQ reads an absent return
// value as None, but fails on an empty one.
var visibleResult = map[string]bool{
	"type": true, "worker_name": true, "execution_id": true, "execution_started_at": true, "execution_ended_at": true,
}

// Mask returns what may be seen of one field of a job's hash or results where payloads
// must not be.
func (Schema) Mask(part job.PartName, field, value []byte) (seen []byte, keep bool) {
	if part == job.ResultsPart {
		return value, visibleResult[string(field)]
	}
	if f := string(field); f == payload || f == "description" {
		return []byte(masked), true
	}
	return value, visible[string(field)]
}

// hidden are the fields that hold payloads, or may.
var hidden = map[string]bool{payload: true, "description": true, "meta": true, "result": true, "exc_info": true, "webhooks": true}

// WorkersPattern fits the hash of every worker.
func (Schema) WorkersPattern() string { return workerPrefix + "*" }
