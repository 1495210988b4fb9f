package index

import (
	"github.com/parquet-go/parquet-go"

	"rqvault/internal/job"
)

// Rows of jobs are read as they were written, column by column: all columns of a group are
// unpacked, and each row takes its value of each.

// slab is how many rows are made at once.
const slab = 256

// ourColumns reports whether a file has the columns that this program writes, in groups of
// the size that it writes. What another version wrote is read row by row.
func ourColumns(f *parquet.File) bool {
	for _, g := range f.RowGroups() {
		if g.NumRows() > groupRows {
			return false
		}
	}
	return parquet.EqualNodes(f.Schema(), parquet.SchemaOf(jobRow{}))
}

// jobGroups calls each for the rows of a file that has our columns, until it is false.
func jobGroups(f *parquet.File, each func(*job.Row) bool) error {
	for _, g := range f.RowGroups() {
		if more, err := jobRows(f, g, each); !more || err != nil {
			return err
		}
	}
	return nil
}

// jobRows calls each for the rows of one row group, and reports whether that was never false.
func jobRows(f *parquet.File, g parquet.RowGroup, each func(*job.Row) bool) (more bool, err error) {
	p := &pages{schema: f.Schema(), chunks: g.ColumnChunks(), rows: int(g.NumRows())}
	if p.rows == 0 {
		return true, nil
	}
	c := openJobs(p)
	if p.err != nil {
		return false, p.err
	}
	var rows []job.Row
	for range p.rows {
		if len(rows) == 0 {
			rows = make([]job.Row, slab)
		}
		c.fill(&rows[0])
		if !each(&rows[0]) {
			return false, nil
		}
		rows = rows[1:]
	}
	return true, p.done()
}

// jobPages is one row group of jobs.parquet.
type jobPages struct {
	createdAt, enqueuedAt, startedAt, endedAt, heartbeatAt     *numbers[int64]
	expireAt, timeout, ttl, retriesLeft, repeatsLeft, resultAt *numbers[int64]
	resultTTL, failureTTL                                      *numbers[int64]
	db, resultType                                             *numbers[int32]

	exists, stub, hasResultTTL, hasFailureTTL, front, allow *bits
	status, queue, function, group, worker, problem         *words
	id, rawID, parents, parentSet, listedBy                 *textPage

	placeKind, placeQueue, placeMember   *words
	placePosition                        *numbers[int64]
	placeScore                           *numbers[float64]
	partName                             *words
	partType, partFrame                  *numbers[int32]
	partExpireAt, partOffset, partLength *numbers[int64]
	partDigest                           *numbers[int64]
}

func openJobs(p *pages) *jobPages {
	const place, part = "places.list.element.", "parts.list.element."
	c := &jobPages{
		createdAt: p.int64("created_at"), enqueuedAt: p.int64("enqueued_at"), startedAt: p.int64("started_at"),
		endedAt: p.int64("ended_at"), heartbeatAt: p.int64("heartbeat_at"), expireAt: p.int64("expire_at"),
		timeout: p.int64("timeout"), ttl: p.int64("ttl"), retriesLeft: p.int64("retries_left"), repeatsLeft: p.int64("repeats_left"),
		resultAt: p.int64("result_at"), resultTTL: p.int64("result_ttl"), failureTTL: p.int64("failure_ttl"),
		db: p.int32("db"), resultType: p.int32("result_type"),

		exists: p.bits("exists"), stub: p.bits("stub"), hasResultTTL: p.bits("has_result_ttl"), hasFailureTTL: p.bits("has_failure_ttl"),
		front: p.bits("at_front"), allow: p.bits("allow_dependency_failures"),
		status: p.words("status"), queue: p.words("queue"), function: p.words("func"), group: p.words("group"),
		worker: p.words("worker"), problem: p.words("problem"),
		id: p.texts("job_id"), rawID: p.texts("job_id_raw"), parents: p.texts("parents.list.element"),
		parentSet: p.texts("parent_set.list.element"), listedBy: p.texts("listed_by.list.element"),

		placeKind: p.words(place + "kind"), placeQueue: p.words(place + "queue"), placeMember: p.words(place + "member"),
		placePosition: p.int64(place + "position"), placeScore: p.double(place + "score"),
		partName: p.words(part + "name"), partType: p.int32(part + "type"), partFrame: p.int32(part + "frame"),
		partExpireAt: p.int64(part + "expire_at"), partOffset: p.int64(part + "offset"), partLength: p.int64(part + "length"),
		partDigest: p.int64(part + "digest"),
	}
	p.alike(&c.placeKind.cells, &c.placeQueue.cells, &c.placeMember.cells, &c.placePosition.cells, &c.placeScore.cells)
	p.alike(&c.partName.cells, &c.partType.cells, &c.partFrame.cells, &c.partExpireAt.cells, &c.partOffset.cells,
		&c.partLength.cells, &c.partDigest.cells)
	return c
}

// fill makes the next row.
func (c *jobPages) fill(r *job.Row) {
	r.DB, r.ID = c.db.next(), c.id.next()
	if raw := c.rawID.next(); raw != "" {
		r.ID = raw
	}
	r.Exists, r.Stub = c.exists.next(), c.stub.next()
	r.Status, r.Queue, r.Func = job.Status(c.status.next()), c.queue.next(), c.function.next()
	r.CreatedAt, r.EnqueuedAt, r.StartedAt = c.createdAt.next(), c.enqueuedAt.next(), c.startedAt.next()
	r.EndedAt, r.HeartbeatAt, r.ExpireAt = c.endedAt.next(), c.heartbeatAt.next(), c.expireAt.next()
	r.Timeout, r.TTL = c.timeout.next(), c.ttl.next()
	r.ResultTTL, r.HasResultTTL = c.resultTTL.next(), c.hasResultTTL.next()
	r.FailureTTL, r.HasFailureTTL = c.failureTTL.next(), c.hasFailureTTL.next()
	r.RetriesLeft, r.RepeatsLeft = c.retriesLeft.next(), c.repeatsLeft.next()
	r.AtFront, r.AllowParentFailed = c.front.next(), c.allow.next()
	r.Parents, r.ParentSet, r.ListedBy = c.parents.list(), c.parentSet.list(), c.listedBy.list()
	r.Group, r.Worker = c.group.next(), c.worker.next()
	r.ResultAt, r.ResultType = c.resultAt.next(), c.resultType.next()
	r.Problem = c.problem.next()
	if n := c.placeKind.count(); n > 0 {
		r.Places = make([]job.Place, n)
		for i := range r.Places {
			r.Places[i] = job.Place{Kind: job.PlaceKind(c.placeKind.take()), Queue: c.placeQueue.take(), Position: c.placePosition.take(),
				Score: c.placeScore.take(), Member: c.placeMember.take()}
		}
	}
	if n := c.partName.count(); n > 0 {
		r.Parts = make([]job.Part, n)
		for i := range r.Parts {
			r.Parts[i] = job.Part{Name: job.PartName(c.partName.take()), Type: c.partType.take(), ExpireAt: c.partExpireAt.take(),
				Offset: c.partOffset.take(), Length: c.partLength.take(), Frame: c.partFrame.take(), Digest: c.partDigest.take()}
		}
	}
}
