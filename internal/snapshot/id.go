// Package snapshot knows what a stored snapshot is: its id, its manifest, the objects
// beside it, the one commit that makes it exist, and the catalog of those that do.
//
//	<root>/rqvault.json                      the repository: format version and id
//	<root>/<source>/snapshots/<id>/…         dump.rdb.zst, jobs.parquet, keys.parquet, manifest.json
//	<root>/<source>/manifests/<id>           empty marker of a committed snapshot, for fast listing
//	<root>/<source>/verified/<id>/…          results of verify, beside the snapshot, never in it
//	<root>/<source>/pins/<id>                a person wants it kept
//	<root>/<source>/freezes/<id>, thaws/<id> retention stands still since that snapshot; goes on
//	<root>/<source>/incidents/<id>/…         what was found when live data collapsed after it
//
// A snapshot without manifest.json does not exist. Objects are written first, the
// manifest last and create-only, and removed the other way round, so that a crash at
// any moment leaves extra bytes and never a half snapshot that looks whole.
package snapshot

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"
)

// ID names a snapshot: UTC time first, so that ids sort by age as plain bytes, then
// four random bytes, such as "20261123T061500.123Z-4f2a9c01".
type ID string

const idTime = "20060102T150405.000Z"

var idForm = regexp.MustCompile(`^\d{8}T\d{6}\.\d{3}Z-[0-9a-f]{8}$`)

// ErrBadID says that a text is no snapshot id.
var ErrBadID = errors.New("not a snapshot id")

// NewID makes an id for that instant with four bytes of random.
func NewID(now time.Time, random io.Reader) (ID, error) {
	var b [4]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return "", fmt.Errorf("make a snapshot id: %w", err)
	}
	return ID(now.UTC().Format(idTime) + "-" + hex.EncodeToString(b[:])), nil
}

// ParseID checks a text's form.
func ParseID(s string) (ID, error) {
	if !idForm.MatchString(s) {
		return "", fmt.Errorf("%w: %q", ErrBadID, s)
	}
	if _, err := time.Parse(idTime, s[:len(idTime)]); err != nil {
		return "", fmt.Errorf("%w: %q", ErrBadID, s)
	}
	return ID(s), nil
}

// Time is the instant the id was made for.
func (id ID) Time() time.Time {
	t, _ := time.Parse(idTime, string(id[:min(len(id), len(idTime))]))
	return t
}

var sourceForm = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

// ValidSource checks the name under which a server's snapshots are kept.
func ValidSource(name string) error {
	if !sourceForm.MatchString(name) || strings.HasSuffix(name, ".") || name == "rqvault.json" || name == "leases" {
		return fmt.Errorf("source %q: use up to 63 of a-z, 0-9, '.', '_', '-', beginning with a letter or digit", name)
	}
	return nil
}
