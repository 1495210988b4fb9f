package index

import (
	"rqvault/internal/columns"
	"rqvault/internal/job"
)

// jobGroup is some rows of jobs.parquet by columns.
type jobGroup struct {
	g         *columns.Group
	db        *columns.Int32
	id, rawID *columns.Text
	rawLevels *columns.Levels

	exists, stub, hasResultTTL, hasFailureTTL, atFront, allowParentFailed *columns.Bool

	status, queue, function, jobsGroup, worker, problem        *columns.Name
	createdAt, enqueuedAt, startedAt, endedAt, heartbeatAt     *columns.Int64
	expireAt, timeout, ttl, retriesLeft, repeatsLeft, resultAt *columns.Int64
	resultTTL, failureTTL                                      optional
	failureLevels                                              *columns.Levels
	resultType                                                 *columns.Int32
	parents, parentSet, listedBy                               texts
	places                                                     placeList
	parts                                                      partList
}

func newJobGroup() *jobGroup {
	g := columns.NewGroup(groupRows)
	c := &jobGroup{g: g}
	c.db = g.Int32("db", nil)
	c.id = g.Text("job_id", nil)
	c.exists = g.Bool("exists", nil)
	c.stub = g.Bool("stub", nil)
	c.status = g.Name("status", nil)
	c.queue = g.Name("queue", nil)
	c.function = g.Name("func", nil)
	c.createdAt = g.Int64("created_at", nil)
	c.enqueuedAt = g.Int64("enqueued_at", nil)
	c.startedAt = g.Int64("started_at", nil)
	c.endedAt = g.Int64("ended_at", nil)
	c.heartbeatAt = g.Int64("heartbeat_at", nil)
	c.expireAt = g.Int64("expire_at", nil)
	c.timeout = g.Int64("timeout", nil)
	c.ttl = g.Int64("ttl", nil)
	c.resultTTL = newOptional(g, "result_ttl")
	c.hasResultTTL = g.Bool("has_result_ttl", nil)
	c.failureTTL = newOptional(g, "failure_ttl")
	c.failureLevels = g.Levels(1, 0)
	c.hasFailureTTL = g.Bool("has_failure_ttl", c.failureLevels)
	c.retriesLeft = g.Int64("retries_left", nil)
	c.repeatsLeft = g.Int64("repeats_left", nil)
	c.atFront = g.Bool("at_front", nil)
	c.allowParentFailed = g.Bool("allow_dependency_failures", nil)
	c.parents = newTexts(g, "parents", false)
	c.parentSet = newTexts(g, "parent_set", true)
	c.listedBy = newTexts(g, "listed_by", true)
	c.jobsGroup = g.Name("group", nil)
	c.worker = g.Name("worker", nil)
	c.resultAt = g.Int64("result_at", nil)
	c.resultType = g.Int32("result_type", nil)
	c.problem = g.Name("problem", nil)
	c.places = newPlaceList(g)
	c.parts = newPartList(g)
	c.rawLevels = g.Levels(1, 0)
	c.rawID = g.Text("job_id_raw", c.rawLevels)
	return c
}

func (c *jobGroup) group() *columns.Group { return c.g }

func (c *jobGroup) add(r *job.Row) {
	c.db.Add(r.DB)
	addName(c.id, c.rawID, c.rawLevels, r.ID)
	c.exists.Add(r.Exists)
	c.stub.Add(r.Stub)
	c.status.Add(string(r.Status))
	c.queue.Add(r.Queue)
	c.function.Add(r.Func)
	c.createdAt.Add(r.CreatedAt)
	c.enqueuedAt.Add(r.EnqueuedAt)
	c.startedAt.Add(r.StartedAt)
	c.endedAt.Add(r.EndedAt)
	c.heartbeatAt.Add(r.HeartbeatAt)
	c.expireAt.Add(r.ExpireAt)
	c.timeout.Add(r.Timeout)
	c.ttl.Add(r.TTL)
	c.resultTTL.add(r.ResultTTL)
	c.hasResultTTL.Add(r.HasResultTTL)
	c.failureTTL.add(r.FailureTTL)
	if r.HasFailureTTL {
		c.failureLevels.Add(1, 0)
		c.hasFailureTTL.Add(true)
	} else {
		c.failureLevels.Add(0, 0)
	}
	c.retriesLeft.Add(r.RetriesLeft)
	c.repeatsLeft.Add(r.RepeatsLeft)
	c.atFront.Add(r.AtFront)
	c.allowParentFailed.Add(r.AllowParentFailed)
	c.parents.add(r.Parents)
	c.parentSet.add(r.ParentSet)
	c.listedBy.add(r.ListedBy)
	c.jobsGroup.Add(r.Group)
	c.worker.Add(r.Worker)
	c.resultAt.Add(r.ResultAt)
	c.resultType.Add(r.ResultType)
	c.problem.Add(r.Problem)
	c.places.add(r.Places)
	c.parts.add(r.Parts)
}

// optional is a column of numbers where 0 is stored as nothing.
type optional struct {
	levels *columns.Levels
	values *columns.Int64
}

func newOptional(g *columns.Group, path string) optional {
	l := g.Levels(1, 0)
	return optional{l, g.Int64(path, l)}
}

func (c *optional) add(v int64) {
	if v == 0 {
		c.levels.Add(0, 0)
		return
	}
	c.levels.Add(1, 0)
	c.values.Add(v)
}

// texts is a column of lists of texts.
type texts struct {
	levels *columns.Levels
	values *columns.Text
}

// newTexts adds a list. In an optional one emptiness is stored as nothing.
func newTexts(g *columns.Group, name string, optional bool) texts {
	maxDef := uint8(1)
	if optional {
		maxDef = 2
	}
	l := g.Levels(maxDef, 1)
	return texts{l, g.Text(name+".list.element", l)}
}

func (c *texts) add(list []string) {
	c.levels.List(len(list))
	for _, s := range list {
		c.values.AddString(s)
	}
}

// placeList is the columns of the places.
type placeList struct {
	levels              *columns.Levels
	kind, queue, member *columns.Name
	position            *columns.Int64
	score               *columns.Double
}

func newPlaceList(g *columns.Group) placeList {
	const at = "places.list.element."
	l := g.Levels(1, 1)
	c := placeList{levels: l}
	c.kind = g.Name(at+"kind", l)
	c.queue = g.Name(at+"queue", l)
	c.position = g.Int64(at+"position", l)
	c.score = g.Double(at+"score", l)
	c.member = g.Name(at+"member", l)
	return c
}

func (c *placeList) add(list []job.Place) {
	c.levels.List(len(list))
	for i := range list {
		p := &list[i]
		c.kind.Add(string(p.Kind))
		c.queue.Add(p.Queue)
		c.position.Add(p.Position)
		c.score.Add(p.Score)
		c.member.Add(p.Member)
	}
}

// partList is the columns of the parts.
type partList struct {
	levels                           *columns.Levels
	name                             *columns.Name
	typ, frame                       *columns.Int32
	expireAt, offset, length, digest *columns.Int64
}

func newPartList(g *columns.Group) partList {
	const at = "parts.list.element."
	l := g.Levels(1, 1)
	c := partList{levels: l}
	c.name = g.Name(at+"name", l)
	c.typ = g.Int32(at+"type", l)
	c.expireAt = g.Int64(at+"expire_at", l)
	c.offset = g.Int64(at+"offset", l)
	c.length = g.Int64(at+"length", l)
	c.frame = g.Int32(at+"frame", l)
	c.digest = g.Random64(at+"digest", l)
	return c
}

func (c *partList) add(list []job.Part) {
	c.levels.List(len(list))
	for i := range list {
		p := &list[i]
		c.name.Add(string(p.Name))
		c.typ.Add(p.Type)
		c.expireAt.Add(p.ExpireAt)
		c.offset.Add(p.Offset)
		c.length.Add(p.Length)
		c.frame.Add(p.Frame)
		c.digest.Add(p.Digest)
	}
}
