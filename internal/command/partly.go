package command

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"rqvault/internal/lineage"
	"rqvault/internal/live"
	"rqvault/restore"
)

// partly says how far a restore came that did not come to its end.
func partly(out *restoreOut, err error) error {
	if err != nil {
		if next := afterRefusal(err.Error()); next != "" {
			err = &advice{err, next}
		}
	}
	done := out.Counts[restore.Restored] + out.Counts[restore.Repaired]
	failed, refused := out.Counts[restore.Failed], out.Counts[restore.Refused]
	switch {
	case err != nil && (done > 0 || errors.Is(err, live.ErrUnreachable)):
		return fmt.Errorf("%w: %w", errPartly, err)
	case err != nil:
		return fmt.Errorf("no job was restored: %w", err)
	case failed == 0 && refused > 0:
		return &advice{fmt.Errorf("%w: %s of the plan changed in live since it was made, and live wins", errPartly, plural(int64(refused), "job")),
			"make a new plan of what is left: rqvault diff " + string(out.Snapshot) + " --out plan.json"}
	case failed == 0:
		return nil
	}
	why := ""
	for _, x := range out.Outcomes {
		if x.Result == restore.Failed {
			why = strings.TrimPrefix(x.Reason, "Redis refused it: ")
			break
		}
	}
	err = fmt.Errorf("refused by Redis: %d of %d: %s", failed, out.total, why)
	if next := afterRefusal(why); next != "" {
		err = &advice{err, next}
	}
	if done > 0 {
		return fmt.Errorf("%w: %w", errPartly, err)
	}
	return fmt.Errorf("no job was restored: %w", err)
}

// afterRefusal says what to do about what Redis answered to a write.
func afterRefusal(why string) string {
	for _, r := range []struct{ word, next string }{
		{"OOM", "Redis is at maxmemory: give it more (redis-cli -u $REDIS config set maxmemory …) or free some, then run the same command again"},
		{"MISCONF", "Redis cannot save and refuses all writes: make room on its disk (redis-cli -u $REDIS info persistence), then run the same command again"},
		{"READONLY", "this is a replica: name its master with --redis"},
		{"NOPERM", "allow the user what docs/cli.md lists for restore --apply, then run the same command again"},
	} {
		if strings.Contains(why, r.word) {
			return r.next
		}
	}
	return ""
}

// refuseTarget keeps writes off a server that takes its data from another: what is
// written there is refused, or lost with the next synchronization. RQ does not work on a
// Redis Cluster, and neither does a restore, whose scripts touch many keys.
func refuseTarget(f lineage.Facts) error {
	r := f.Replication
	if f.ClusterEnabled {
		return &advice{fmt.Errorf("%w: this server is a node of a Redis Cluster, which RQ and its restore cannot use", errRefused), "name the server that RQ uses with --redis"}
	}
	if r.Role != "slave" {
		return nil
	}
	master := net.JoinHostPort(r.MasterHost, fmt.Sprint(r.MasterPort))
	return &advice{fmt.Errorf("%w: this server is a replica of %s, and a restore has to go to the master", errRefused, master),
		"name the master: --redis redis://" + master + "/0"}
}
