package command_test

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"

	"rqvault/internal/redistest"
)

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func TestWhereRestoreIsRefusedEverythingComesBackFieldByField(t *testing.T) {
	t.Parallel()
	v := newVault(t, redistest.WithUser("limited on >secret ~* &* +@all -restore"))
	before := fill(t, v, 0, 1)
	want := restorable(before, heldJobs...)
	v.backup()
	v.redis = strings.Replace(v.redis, "unix://", "unix://limited:secret@", 1)
	v.s.Do("FLUSHALL")
	v.restore(0)
	same(t, "after the restore", look(t, v.s).without(ledger), want)
	v.restore(0, "--keys", "*")
	rqs := func(k string) bool { return ledger(k) || strings.HasPrefix(k, "rq:") }
	same(t, "after restore --keys", look(t, v.s).without(rqs), before.without(rqs))
}

func TestWhereTheCommandIsRenamedEverythingComesBackToo(t *testing.T) {
	t.Parallel()
	v := newVault(t, redistest.WithArgs("--rename-command", "RESTORE", ""))
	before := restorable(fill(t, v, 0), heldJobs...)
	v.backup()
	v.s.Do("FLUSHALL")
	d := v.restore(0)
	if got := d.with("failed"); !slices.Equal(got, []string{}) {
		t.Errorf("failed: %q", got)
	}
	same(t, "after the restore", look(t, v.s).without(ledger), before)
}
