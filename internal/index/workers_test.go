package index_test

import (
	"reflect"
	"slices"
	"testing"

	"rqvault/internal/index"
	"rqvault/internal/job"
	"rqvault/internal/keyspace"
)

func TestWorkersAndLinks(t *testing.T) {
	recs := []*keyspace.Record{
		hash(t, 0, "rq:worker:busy", "birth", instant, "last_heartbeat", instant, "current_job", "a"),
		hash(t, 2, "rq:worker:gone", "death", instant),
		set(t, 0, "rq:worker:busy:executions", "x"),
		jobHash(t, 0, "child", "dependency_ids", `["p1", "p2"]`),
		set(t, 0, "rq:job::child:dependencies", "p2", "p1"), set(t, 0, "rq:job:p1:dependents", "child", "long-gone"),
		jobHash(t, 0, "p1"),
	}
	got := build(t, index.Options{}, recs...)
	want := []job.Worker{{Name: "busy", HeartbeatAt: got.row(t, "p1").CreatedAt, Job: "a", Whole: true}, {DB: 2, Name: "gone", Dead: true}}
	if w := got.b.Workers(); !reflect.DeepEqual(w, want) {
		t.Errorf("workers: got %+v, want %+v", w, want)
	}
	c := got.row(t, "child")
	if !slices.Equal(c.ParentSet, []string{"p1", "p2"}) || !slices.Equal(c.ListedBy, []string{"p1"}) || !slices.Equal(c.Parents, []string{"p1", "p2"}) {
		t.Errorf("links: got %q, %q and %q", c.Parents, c.ParentSet, c.ListedBy)
	}
	if len(got.rows) != 2 {
		t.Errorf("got %d rows, want 2: a child that is gone is no job", len(got.rows))
	}
}
