package rq_test

import (
	"testing"

	"rqvault/internal/job"
	"rqvault/internal/rq"
)

func TestMaskLetsNoPayloadThrough(t *testing.T) {
	const secret = "secret"
	for _, c := range []struct {
		part  job.PartName
		field string
		want  string // "" if the field goes
	}{
		{job.HashPart, "data", "masked by rqvault"},
		{job.HashPart, "description", "masked by rqvault"},
		{job.HashPart, "meta", ""},
		{job.HashPart, "result", ""},
		{job.HashPart, "exc_info", ""},
		{job.HashPart, "webhooks", ""},
		{job.HashPart, "a field that a later RQ invents", ""},
		{job.HashPart, "status", secret},
		{job.HashPart, "origin", secret},
		{job.HashPart, "timeout", secret},
		{job.HashPart, "dependency_ids", secret},
		{job.HashPart, "group_id", secret},
		{job.ResultsPart, "return_value", ""},
		{job.ResultsPart, "exc_string", ""},
		{job.ResultsPart, "data", ""},
		{job.ResultsPart, "type", secret},
		{job.ResultsPart, "execution_id", secret},
	} {
		seen, keep := rq.Schema{}.Mask(c.part, []byte(c.field), []byte(secret))
		if keep != (c.want != "") || keep && string(seen) != c.want {
			t.Errorf("%s of the %s: got %q, %v, want %q", c.field, c.part, seen, keep, c.want)
		}
	}
	// Whatever a job is known and placed by stays.
	for _, f := range (rq.Schema{}).VersionFields() {
		if seen, keep := (rq.Schema{}).Mask(job.HashPart, []byte(f), []byte(secret)); !keep || string(seen) != secret {
			t.Errorf("%s: got %q, %v, want it as it is", f, seen, keep)
		}
	}
}
