package snapshot

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"rqvault/internal/lineage"
)

// Names of a snapshot's objects.
const (
	DumpName     = "dump.rdb.zst"
	JobsName     = "jobs.parquet"
	KeysName     = "keys.parquet"
	manifestName = "manifest.json"
)

// Manifest says what a snapshot is and how to know that it is whole. It is written
// last; where it is, the snapshot is. docs/formats.md describes each field.
type Manifest struct {
	Format      int       `json:"format"`
	ID          ID        `json:"id"`
	Source      string    `json:"source"`
	Nonce       string    `json:"nonce"`         // random, tells our own commit from another's
	CreatedAt   time.Time `json:"created_at"`    // the instant the dump stands for
	FinishedAt  time.Time `json:"finished_at"`   // when the manifest was written
	Slot        time.Time `json:"slot,omitzero"` // the time it was scheduled for
	ToolVersion string    `json:"tool_version"`
	Via         string    `json:"via"` // bgsave, sync or scan
	ViaReason   string    `json:"via_reason,omitempty"`
	Atomic      bool      `json:"atomic"` // false: keys were read one after another
	Dump        Dump      `json:"dump"`
	Counts      Counts    `json:"counts"`
	// Registered are the lists in the set of queues, by database.
	Registered map[string][]string `json:"registered_queues"`
	Objects    []Stored            `json:"objects"`
	Lineage    Lineage             `json:"lineage"`
	Warnings   []string            `json:"warnings"`
	Encryption *Encryption         `json:"encryption,omitempty"` // nil: it is not encrypted

	locked error // why the details could not be decrypted
}

// Dump describes the RDB file inside dump.rdb.zst.
type Dump struct {
	Format   string            `json:"format"`   // such as "Redis RDB 10"
	Checksum string            `json:"checksum"` // "verified", or "absent" where the server writes none
	Size     int64             `json:"size"`     // bytes, unpacked
	Keys     int64             `json:"keys"`
	Aux      map[string]string `json:"aux,omitempty"`
}

// Counts is what the dump holds, counted while it was read.
type Counts struct {
	Keys    int64                       `json:"keys"`
	Jobs    int64                       `json:"jobs"` // hashes that are jobs
	Rows    int64                       `json:"rows"` // rows of jobs.parquet, ids without a hash included
	ByKind  map[string]int64            `json:"by_kind"`
	ByDB    map[string]int64            `json:"by_db"`
	Status  map[string]int64            `json:"by_status"`
	Queues  map[string]map[string]int64 `json:"by_queue"` // queue → status → jobs
	Unknown int64                       `json:"unknown"`  // keys under rq: in no known form
}

// Stored is one object of the snapshot.
type Stored struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"` // hex

	*Encrypted // nil: the object is stored as it is

	// Tail is how the object ends, where that tells the digests of its parts, so that parts
	// can be read and proven. Nil where it does not, and of what is encrypted, which brings
	// its own proof.
	Tail *Tail `json:"tail,omitempty"`
}

// Tail is the end of an object.
type Tail struct {
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"` // hex
}

// Lineage is what the server said of itself just before and just after the dump.
type Lineage struct {
	Before lineage.Facts `json:"before"`
	After  lineage.Facts `json:"after"`
	Break  *Break        `json:"break,omitempty"`
}

// Break is where the history of the data was last torn: Redis came back without all of
// it, or it was flushed. It stands in every snapshot since.
type Break struct {
	Snapshot ID           `json:"snapshot"` // the last one from before
	At       time.Time    `json:"at"`       // created_at of the first one after
	Mode     lineage.Mode `json:"mode"`
	Reasons  []string     `json:"reasons"`
}

// StoredSize is the sum of the objects' sizes in bytes, without the manifest.
func (m *Manifest) StoredSize() int64 {
	var n int64
	for _, o := range m.Objects {
		n += o.Size
	}
	return n
}

// Why is what showed it, for people; "" if nothing was noted.
func (b *Break) Why() string {
	if len(b.Reasons) == 0 {
		return ""
	}
	return b.Reasons[len(b.Reasons)-1] // the first say which process it is
}

// Object returns the entry of that name, under which it is stored encrypted or not.
func (m *Manifest) Object(name string) (Stored, error) {
	for _, o := range m.Objects {
		if plainName(o.Name) == name {
			return o, nil
		}
	}
	return Stored{}, fmt.Errorf("%w: the manifest of %s names no %s", ErrDamaged, m.ID, name)
}

// Validate reports everything that cannot be true of a manifest.
func (m *Manifest) Validate() error {
	var bad []string
	check := func(ok bool, what string) {
		if !ok {
			bad = append(bad, what)
		}
	}
	_, err := ParseID(string(m.ID))
	check(err == nil, "its id has the wrong form")
	check(ValidSource(m.Source) == nil, "its source has the wrong form")
	check(len(m.Nonce) >= 16, "its nonce is too short")
	check(!m.CreatedAt.IsZero() && !m.FinishedAt.IsZero(), "a time is missing")
	check(m.Dump.Size > 0 && m.Dump.Keys >= 0, "the dump's size or count is impossible")
	check(m.Dump.Checksum == "verified" || m.Dump.Checksum == "absent", "the dump's checksum is neither verified nor absent")
	check(m.Counts.Keys == m.Dump.Keys, "its key counts disagree")
	check(m.Counts.Jobs >= 0 && m.Counts.Jobs <= m.Counts.Rows, "its job counts are impossible")
	for _, o := range m.Objects {
		check(o.Size >= 0 && validDigest(o.SHA256) && objectForm.MatchString(o.Name), "an object's entry is impossible")
		check(o.Tail == nil || o.Tail.Size > 0 && o.Tail.Size <= o.Size && validDigest(o.Tail.SHA256), "an object's tail is impossible")
	}
	m.validEncryption(check)
	check(slices.Equal(m.names(), []string{DumpName, JobsName, KeysName}), "it names other objects than a snapshot has")
	if len(bad) > 0 {
		return fmt.Errorf("%w: manifest: %s", ErrDamaged, strings.Join(bad, "; "))
	}
	return nil
}

func validDigest(text string) bool {
	sum, err := hex.DecodeString(text)
	return err == nil && len(sum) == sha256.Size
}

// ParseManifest checks and reads a stored manifest.
func ParseManifest(b []byte) (*Manifest, error) {
	// A later format may give members another type, which is no damage.
	var head struct {
		Format int `json:"format"`
	}
	if err := Unseal(b, &head); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	if head.Format > encryptedVersion {
		return nil, fmt.Errorf("manifest: %w: version %d, this rqvault reads up to %d", ErrTooNew, head.Format, encryptedVersion)
	}
	var m Manifest
	if err := Unseal(b, &m); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	if m.Format < 1 {
		return nil, fmt.Errorf("%w: manifest without a format version", ErrDamaged)
	}
	if err := m.Validate(); err != nil {
		return nil, err
	}
	return &m, nil
}
