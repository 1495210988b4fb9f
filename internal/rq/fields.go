package rq

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/json"
	"io"
	"math"
	"slices"
	"strconv"
	"time"

	"rqvault/internal/job"
)

// payload is the field that holds the serialized call.
const payload = "data"

// Bounds on what is taken from one job's hash into the index.
const (
	maxFunc    = 256  // characters of a function's name
	maxParents = 4096 // ids in dependency_ids
	maxInflate = 512  // bytes inflated of data to find a function's name
)

// toJudge are the fields of which a job's state is made.
var (
	toCompare = []string{"status", "origin", "created_at", "started_at", "ended_at", "enqueued_at", "last_heartbeat", "worker_name",
		"dependency_id", "dependency_ids"}
	toJudge = append(slices.Clip(toCompare), "timeout", "ttl", "result_ttl", "failure_ttl", "retries_left", "repeats_left",
		"enqueue_at_front", "allow_dependency_failures", "group_id")
)

// FieldsToJudge lists all that Wants names, but for `data` and `description`.
func (Schema) FieldsToJudge() []string { return toJudge }

// FieldsToCompare leaves out how a job is to be run and kept.
func (Schema) FieldsToCompare() []string { return toCompare }

// Those of toCompare that a glance takes in, and how many of these RQ writes into every hash,
// always together with the payload: no command of its leaves the one without the other.
const (
	atFirst   = 7
	withWhole = 5
)

// FieldsAtFirst leaves out which worker runs a job, and what it waits for.
func (Schema) FieldsAtFirst() int { return atFirst }

// Glance wants more of jobs that run or wait for others, and of hashes that are not as RQ
// writes them, such as what a worker's heartbeat leaves of one that was deleted. The record
// of a job, and one that has been canceled or is scheduled, may end before its registry says.
func (Schema) Glance(first [][]byte) (enough, ends bool) {
	for i, v := range first[:withWhole] {
		if v == nil || i < 3 && len(v) == 0 {
			return false, false
		}
	}
	switch job.Status(first[0]) {
	case job.Queued:
		return true, false
	case job.Finished, job.Failed, job.Stopped, job.Scheduled, job.Canceled:
		return true, true
	}
	return false, false
}

func fillParents(row *job.Row, value []byte) bool {
	var ids []string
	if err := json.Unmarshal(value, &ids); err != nil || len(ids) > maxParents {
		return false
	}
	if len(ids) > 0 {
		row.Parents = ids
	}
	return true
}

func fillNumber(row *job.Row, f job.Field, value []byte) bool {
	n, err := strconv.ParseInt(string(value), 10, 64)
	if err != nil {
		return false
	}
	switch f {
	case fieldTimeout:
		row.Timeout = n
	case fieldTTL:
		row.TTL = n
	case fieldResultTTL:
		row.ResultTTL, row.HasResultTTL = n, true
	case fieldFailureTTL:
		row.FailureTTL, row.HasFailureTTL = n, true
	case fieldRetriesLeft:
		row.RetriesLeft = n
	case fieldRepeatsLeft:
		row.RepeatsLeft = n
	case fieldAtFront:
		row.AtFront = n != 0
	case fieldAllowFailures:
		row.AllowParentFailed = n != 0
	}
	return true
}

// FillWorker reads a worker's hash. RQ 2.11 and older name the job that runs.
func (Schema) FillWorker(w *job.Worker, field, value []byte) {
	switch string(field) {
	case "death":
		w.Dead = len(value) > 0
	case "birth":
		w.Whole = len(value) > 0
	case "version":
		w.Version = string(value)
	case "current_job":
		w.Job = string(value)
	case "last_heartbeat":
		w.HeartbeatAt, _ = ParseTime(value)
	}
}

// PayloadField returns "data".
func (Schema) PayloadField() string { return payload }

// FillFunc names the function from the first bytes of `data`.
func (Schema) FillFunc(row *job.Row, head []byte) { row.Func = funcOfData(head) }

// FillResult copies what the newest entry of rq:results:<id> says. Its id carries the
// time at which the run ended, in milliseconds.
func (Schema) FillResult(row *job.Row, at int64, field, value []byte) {
	row.ResultAt = at
	if string(field) != "type" {
		return
	}
	if n, err := strconv.ParseInt(string(value), 10, 32); err == nil {
		row.ResultType = int32(n)
	}
}

// Done decides what needs the whole hash: one without `data` is a stub, which RQ
// treats as no job at all.
func (Schema) Done(row *job.Row) {
	if row.Part(job.HashPart) == nil {
		return
	}
	if !row.Exists {
		row.Stub = true
		return
	}
	if row.CreatedAt == 0 && row.Problem == "" {
		row.Problem = "no created_at"
	}
}

// Homes lists where a job of that status must stand.
func (Schema) Homes(s job.Status) []job.PlaceKind {
	switch s {
	case job.Queued:
		return []job.PlaceKind{job.InQueue, job.InIntermediate}
	case job.Started:
		return []job.PlaceKind{job.InWip}
	case job.Finished:
		return []job.PlaceKind{job.InFinished}
	case job.Failed, job.Stopped:
		return []job.PlaceKind{job.InFailed}
	case job.Deferred:
		return []job.PlaceKind{job.InDeferred}
	case job.Scheduled:
		return []job.PlaceKind{job.InScheduled}
	case job.Canceled:
		return []job.PlaceKind{job.InCanceled}
	case job.Ready:
		return []job.PlaceKind{job.InReady}
	case job.RateLimited:
		return []job.PlaceKind{job.InRateLimited}
	}
	return nil
}

// VersionFields are the texts that tell one version of a job from another.
func (Schema) VersionFields() []string { return []string{"created_at", "status", "enqueued_at"} }

// VersionTexts writes the instants of a job as RQ does; one that is not there yet is an
// empty text, or no field.
func (Schema) VersionTexts(r *job.Row) map[string]string {
	texts := map[string]string{"status": string(r.Status)}
	for name, us := range map[string]int64{"created_at": r.CreatedAt, "enqueued_at": r.EnqueuedAt, "started_at": r.StartedAt,
		"ended_at": r.EndedAt, "last_heartbeat": r.HeartbeatAt} {
		texts[name] = ""
		if us != 0 {
			texts[name] = FormatTime(time.UnixMicro(us))
		}
	}
	return texts
}

// Requeue does what Job.requeue and a retry do: the traces of the run go, a retry is used
// up, and ttl counts from now.
func (Schema) Requeue(r *job.Row, now time.Time) (fields map[string]string, expireAt int64) {
	fields = map[string]string{"status": string(job.Queued), "enqueued_at": FormatTime(now),
		"started_at": "", "ended_at": "", "last_heartbeat": "", "worker_name": ""}
	if r.RetriesLeft > 0 {
		fields["retries_left"] = strconv.FormatInt(r.RetriesLeft-1, 10)
	}
	if r.TTL > 0 {
		expireAt = now.Add(time.Duration(r.TTL) * time.Second).UnixMilli()
	}
	return fields, expireAt
}

// failureTTL is how long RQ keeps a failed job that does not say, in seconds: a year.
const failureTTL = 31536000

// Fail does what RQ's registry of running jobs does with one that was abandoned: the job
// is failed, with a result that says why. A failure_ttl of -1 keeps it for ever.
func (Schema) Fail(r *job.Row, now time.Time, why string) (fields map[string]string, score float64, expireAt int64, result map[string]string) {
	fields = map[string]string{"status": string(job.Failed), "ended_at": FormatTime(now)}
	ttl := int64(failureTTL)
	if r.HasFailureTTL {
		ttl = r.FailureTTL
	}
	score = -1
	if ttl >= 0 {
		at := now.Add(time.Duration(ttl) * time.Second)
		score, expireAt = float64(at.Unix()), at.UnixMilli()
	}
	var z bytes.Buffer
	w := zlib.NewWriter(&z)
	_, _ = io.WriteString(w, why) // a Buffer takes everything
	_ = w.Close()
	return fields, score, expireAt, map[string]string{"type": "2", "exc_string": base64.StdEncoding.EncodeToString(z.Bytes()), "worker_name": ""}
}

// resultTTL is how long RQ keeps a finished job that does not say, in seconds.
const resultTTL = 500

// Finish does what a worker does with a job that succeeded, for one that had: a result_ttl
// of -1 keeps it for ever, and none is kept for less than a minute from now.
func (Schema) Finish(r *job.Row, ended, now time.Time) (fields map[string]string, score float64, expireAt int64) {
	fields = map[string]string{"status": string(job.Finished), "ended_at": FormatTime(ended)}
	ttl := int64(resultTTL)
	if r.HasResultTTL {
		ttl = r.ResultTTL
	}
	if ttl < 0 {
		return fields, math.Inf(1), 0
	}
	at := ended.Add(time.Duration(ttl) * time.Second)
	if soon := now.Add(time.Minute); at.Before(soon) {
		at = soon
	}
	return fields, float64(at.Unix()), at.UnixMilli()
}

// Queue returns what RQ writes into a deferred job's hash when its last parent ended.
func (Schema) Queue(now time.Time) map[string]string {
	return map[string]string{"status": string(job.Queued), "enqueued_at": FormatTime(now)}
}

// funcOfCall takes the dotted name off a description such as "pkg.mod.f(1, 2)". A
// description the user wrote has no such form and yields nothing.
func funcOfCall(description []byte) []byte {
	i := bytes.IndexByte(description, '(')
	if i <= 0 || i > maxFunc || !dotted(description[:i]) {
		return nil
	}
	return description[:i]
}

func dotted(b []byte) bool {
	for i, c := range b {
		letter := c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
		if !letter && (i == 0 || c != '.' && (c < '0' || c > '9')) {
			return false
		}
	}
	return len(b) > 0
}

// funcOfData finds the function's name at the start of the serialized call: the first
// string of a JSON list, or the first string pushed by a pickle of protocol 2 or later.
// Only the first bytes are inflated; nothing else of the payload is looked at.
func funcOfData(data []byte) string {
	head := data
	if z, err := zlib.NewReader(bytes.NewReader(data)); err == nil {
		buf := make([]byte, maxInflate)
		n, _ := io.ReadFull(z, buf)
		head = buf[:n]
	}
	if rest, ok := bytes.CutPrefix(head, []byte(`["`)); ok {
		if i := bytes.IndexByte(rest, '"'); i > 0 && i <= maxFunc && dotted(rest[:i]) {
			return string(rest[:i])
		}
		return ""
	}
	return funcOfPickle(head)
}

func funcOfPickle(p []byte) string {
	if len(p) < 3 || p[0] != 0x80 {
		return ""
	}
	p = p[2:]
	if len(p) > 9 && p[0] == 0x95 { // FRAME, 8 bytes of length
		p = p[9:]
	}
	if len(p) > 0 && p[0] == '(' { // MARK of a tuple of four
		p = p[1:]
	}
	var n int
	switch {
	case len(p) > 2 && p[0] == 0x8c: // SHORT_BINUNICODE
		n, p = int(p[1]), p[2:]
	case len(p) > 5 && p[0] == 'X' && p[2]|p[3]|p[4] == 0: // BINUNICODE below 256
		n, p = int(p[1]), p[5:]
	default:
		return ""
	}
	if n > len(p) || !dotted(p[:n]) {
		return ""
	}
	return string(p[:n])
}
