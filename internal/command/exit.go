package command

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"slices"
	"strings"
	"syscall"

	"rqvault/backup"
	"rqvault/internal/config"
	"rqvault/internal/index"
	"rqvault/internal/lineage"
	"rqvault/internal/live"
	"rqvault/internal/rdb"
	"rqvault/internal/replica"
	"rqvault/internal/scratch"
	"rqvault/internal/seal"
	"rqvault/internal/snapshot"
	"rqvault/internal/source"
	"rqvault/restore"
	"rqvault/verify"
)

// The exit codes, as docs/cli.md lists them.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitFindings    = 3
	exitNoSnapshot  = 4
	exitDamaged     = 5
	exitPartly      = 6
	exitRefused     = 7
	exitLocked      = 8
	exitForged      = 9
	exitInterrupted = 130
)

// Outcomes that are no faults of the command, but have an exit code of their own.
var (
	errFindings = errors.New("findings")        // 3; what was found is printed already
	errDamage   = errors.New("damage found")    // 5; likewise
	errPartly   = errors.New("partly done")     // 6
	errForged   = errors.New("not proven")      // 9; what was found is printed already
	errLineage  = errors.New("lineage changed") // 7
	errRefused  = errors.New("refused")         // 7
)

// advice is an error that knows the next step better than its cause does.
type advice struct {
	error
	next string
}

func (a *advice) Unwrap() error { return a.error }

// rule maps a cause to its exit code and to what a person types next.
type rule struct {
	cause error
	code  int
	next  string
}

// rules are tried in order. The first cause that fits gives the code and the advice.
var rules = []rule{
	{errFindings, exitFindings, ""},
	{errDamage, exitDamaged, ""},
	{errUsage, exitUsage, ""},
	{errRefused, exitRefused, ""},
	{backup.ErrFrozen, exitRefused, "see what is missing: rqvault diff; put it back: rqvault restore; then: rqvault thaw"},
	{backup.ErrUnproven, exitRefused, "prove one: rqvault verify"},
	{backup.ErrKeep, exitUsage, ""},
	{errForged, exitForged, ""},
	{errLineage, exitRefused, "make a new plan: rqvault diff --out plan.json"},
	{lineage.ErrLoading, exitRefused, "wait until Redis has loaded (redis-cli info persistence | grep loading), then run the same command again"},
	{lineage.ErrForeign, exitRefused, "name the master that RQ writes to with --redis; or, if you know what this replica's data is: --assume older or --assume complete"},
	{live.ErrLoading, exitRefused, "wait until Redis has loaded (redis-cli info persistence | grep loading), then run the same command again"},
	{replica.ErrLoading, exitRefused, "wait until Redis has loaded (redis-cli info persistence | grep loading), then run the same command again"},
	{snapshot.ErrPlain, exitRefused, "see what keys the store has now, and who changed them: rqvault key list; if it is meant to be so, name another --source, or the right --recipient"},
	{snapshot.ErrForged, exitForged, "trust nothing of it before you know who wrote it; look for one that is signed: rqvault verify --all"},
	{snapshot.ErrUnsigned, exitForged, "look for one that is signed: rqvault verify --all; snapshots from before backups signed are read without --verify-key"},
	// Before errPartly: to run a restore from damaged data again would never end better.
	{snapshot.ErrDamaged, exitDamaged, "prove which snapshots are whole: rqvault verify --all; then name a good one"},
	{index.ErrDamaged, exitDamaged, "prove which snapshots are whole: rqvault verify --all; then name a good one"},
	{errPartly, exitPartly, "run the same command again: it goes on where it stopped and doubles nothing"},
	{scratch.ErrMissing, exitFailed, "install it (apt install redis-server), or say where it is with --redis-server PATH; or drill into a server of yours with --into URL"},
	{scratch.ErrTooOld, exitFailed, "name a redis-server at least as new as the one the snapshot is from, with the same modules: --redis-server PATH; or drill into a server of yours with --into URL"},
	{scratch.ErrNotLoaded, exitFailed, "prove the snapshot (rqvault verify), and see that memory and the disk of --temp-dir have room for it"},
	{scratch.ErrLongPath, exitFailed, "name a directory with a shorter path: --temp-dir /tmp"},
	{config.ErrInvalid, exitUsage, "put that right, then: rqvault config check; docs/config.md has every key, rqvault config default a file to begin with"},
	{snapshot.ErrNoIdentity, exitLocked, "name an operator's identity with --identity FILE (RQVAULT_IDENTITY_FILE), or the passphrase with --passphrase-file FILE"},
	{snapshot.ErrWrongKey, exitLocked, "use the identity of one who is named there, or let one of them add you: rqvault key add RECIPIENT"},
	{seal.ErrExists, exitUsage, "see them: rqvault key list; for new ones: rqvault key rotate; for more operators: rqvault key add RECIPIENT"},
	{seal.ErrNoKeys, exitUsage, "make them: rqvault key new RECIPIENT"},
	{seal.ErrRaced, exitFailed, "see what they are now: rqvault key list; then run the same command again if it is still needed"},
	{seal.ErrLast, exitUsage, "add another operator first: rqvault key add RECIPIENT --identity FILE"},
	{seal.ErrRecipient, exitUsage, "see the operators: rqvault key list; rqvault key identity FILE makes an identity and prints its recipient"},
	{restore.ErrPlan, exitUsage, "make a new one: rqvault diff --out plan.json"},
	{verify.ErrInvariant, exitUsage, "docs/invariants.md lists them"},
	{snapshot.ErrNoSnapshot, exitNoSnapshot, "see what there is: rqvault snapshots"},
	{snapshot.ErrAmbiguous, exitUsage, "give more of the id: rqvault snapshots lists them"},
	{snapshot.ErrBadID, exitUsage, "see the ids: rqvault snapshots"},
	{snapshot.ErrNoStore, exitNoSnapshot, "check --store (or RQVAULT_STORE); the first rqvault backup makes a directory store by itself, a bucket has to exist"},
	{snapshot.ErrUnreachable, exitFailed, "check the network and the endpoint (AWS_ENDPOINT_URL_S3, or ?endpoint= in --store)"},
	{fs.ErrPermission, exitFailed, "run as the user who owns that path (ls -ld shows who), give yourself the right to it, or name another one"},
	{snapshot.ErrLocked, exitFailed, "wait until the store's lock ends, or have it lifted by who may"},
	{snapshot.ErrDenied, exitFailed, "check the store's credentials (AWS_ACCESS_KEY_ID, AWS_PROFILE) and that they may read, list and put there"},
	{snapshot.ErrTooNew, exitFailed, "use the rqvault that wrote it, or a newer one"},
	{source.ErrUnknownWay, exitUsage, "use --via " + strings.Join(source.Ways, ", --via ")},
	{live.ErrAuth, exitFailed, "check the user and password in --redis, or set RQVAULT_REDIS_PASSWORD or RQVAULT_REDIS_PASSWORD_FILE"},
	{replica.ErrAuth, exitFailed, "check the user and password in --redis, or set RQVAULT_REDIS_PASSWORD or RQVAULT_REDIS_PASSWORD_FILE"},
	{live.ErrTLS, exitFailed, "check rediss:// against redis://, and the ca_cert, cert and key given in --redis"},
	{replica.ErrTLS, exitFailed, "check rediss:// against redis://, and the ca_cert, cert and key given in --redis"},
	{live.ErrDumpUnreachable, exitFailed, "mount Redis' data directory here and name it with --dump-dir, or use --via sync"},
	{live.ErrSaveFailed, exitFailed, "look into Redis' log and its disk (df -h, redis-cli info persistence); --via sync needs no disk there"},
	{live.ErrNoSpace, exitFailed, "make room on Redis' disk; --via sync needs none there"},
	{live.ErrSaveTimeout, exitFailed, "see how far it is (redis-cli info persistence), then give more time with --save-timeout, or use --via sync"},
	{live.ErrSaveRunning, exitFailed, "wait until the other save has ended (redis-cli info persistence), then run the same command again"},
	{live.ErrDenied, exitFailed, "allow the user what docs/cli.md lists for this command, or try another --via"},
	{replica.ErrDenied, exitFailed, "this server offers no replication link: use --via scan"},
	{replica.ErrNotReady, exitFailed, "try again in a moment, or use --via scan"},
	{replica.ErrFailed, exitFailed, "look into Redis' log and its memory (fork needs room), or use --via scan"},
	{live.ErrNoMaster, exitFailed, "ask a sentinel: redis-cli -p 26379 sentinel masters"},
	{live.ErrNoDB, exitFailed, "name a database that is there (redis-cli -u $REDIS config get databases), usually /0"},
	{live.ErrNotRedis, exitFailed, "check host and port in --redis: what listens there is something else"},
	{live.ErrUnreachable, exitFailed, "check that Redis runs and listens there: redis-cli -u $REDIS ping; after an outage start it first"},
	{replica.ErrUnreachable, exitFailed, "check that Redis runs and listens there: redis-cli -u $REDIS ping; after an outage start it first"},
	{replica.ErrIdle, exitFailed, "look into Redis' log, then run the same command again"},
	{syscall.EROFS, exitFailed, "that file system is mounted read-only: use another place (--store, --temp-dir, --out), or mount it for writing"},
	{syscall.ENOSPC, exitFailed, "make room on that disk (df -h) or use another one (--store, --temp-dir), then run the same command again"},
	{rdb.ErrUnsupported, exitFailed, "this Redis writes something newer than this rqvault reads: update rqvault"},
	{rdb.ErrDamaged, exitFailed, "the dump came damaged from Redis: run the same command again; if it stays, redis-check-rdb the server's dump and look at its disk and memory"},
}

// exit prints what went wrong, once, with the next step, and returns the exit code.
func (e *env) exit(ctx context.Context, err error) int {
	if err == nil {
		return exitOK
	}
	e.stopProgress()
	if ctx.Err() != nil && !errors.Is(err, errPartly) && !errors.Is(err, errFindings) {
		fmt.Fprintln(e.err, "rqvault: interrupted; nothing was committed or changed")
		return exitInterrupted
	}
	code, next := classify(err)
	next = strings.ReplaceAll(next, "$REDIS", quote(e.target))
	if errors.Is(err, snapshot.ErrNoStore) && e.storeUnset {
		next = "name the store with --store or RQVAULT_STORE: neither is set, so the default ./rqvault-data was tried"
	}
	if errors.Is(err, errFindings) || errors.Is(err, errDamage) || errors.Is(err, errForged) {
		return code
	}
	if errors.Is(err, config.ErrInvalid) { // a list: one reason a line
		for i, line := range strings.Split(err.Error(), "\n") {
			fmt.Fprintln(e.err, []string{"rqvault: ", "  "}[min(i, 1)]+clean(line))
		}
	} else {
		fmt.Fprintln(e.err, "rqvault: "+oneLine(err))
	}
	if next != "" {
		fmt.Fprintln(e.err, "next: "+next)
	}
	if ctx.Err() != nil {
		return exitInterrupted
	}
	return code
}

// oneLine writes an error as one sentence: joined errors side by side, none twice, and
// nothing that could move a terminal's cursor.
func oneLine(err error) string {
	text := strings.TrimPrefix(err.Error(), errUsage.Error()+": ")
	return clean(strings.Join(slices.Compact(strings.Split(text, "\n")), "; "))
}

func classify(err error) (code int, next string) {
	code = exitFailed
	for _, r := range rules {
		if errors.Is(err, r.cause) {
			code, next = r.code, r.next
			break
		}
	}
	var better *advice
	var dns *net.DNSError
	switch {
	case errors.As(err, &better):
		next = better.next
	case errors.As(err, &dns) && dns.IsNotFound:
		next = "check the host's name: " + dns.Name + " does not resolve"
	}
	return code, next
}
