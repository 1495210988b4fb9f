package verify

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"

	"rqvault/internal/job"
)

// Settled is the set of jobs about which an earlier restore had nothing to do, because
// they were there, or had provably ended. Such a job leaves as all jobs do, and then looks
// like one that was lost: a later restore must not bring it back. Of each job there is a
// fingerprint of 8 bytes, made of its id and its creation.
//
// The zero value is empty. It is used by one goroutine at a time.
type Settled struct {
	prints map[int32][]uint64 // by database
	sorted bool
}

// fingerprint is the first 8 bytes of the SHA-256 of id and created_at (8 bytes, little
// endian, Unix microseconds).
func fingerprint(id string, createdAt int64) uint64 {
	b := make([]byte, 0, 64)
	b = binary.LittleEndian.AppendUint64(append(b, id...), uint64(createdAt))
	sum := sha256.Sum256(b)
	return binary.LittleEndian.Uint64(sum[:8])
}

func (s *Settled) insert(db int32, prints ...uint64) {
	if s.prints == nil {
		s.prints = map[int32][]uint64{}
	}
	s.prints[db] = append(s.prints[db], prints...)
	s.sorted = false
}

func (s *Settled) has(r *job.Row) bool {
	if s == nil || len(s.prints[r.DB]) == 0 {
		return false
	}
	if !s.sorted {
		for _, p := range s.prints {
			slices.Sort(p)
		}
		s.sorted = true
	}
	_, ok := slices.BinarySearch(s.prints[r.DB], fingerprint(r.ID, r.CreatedAt))
	return ok
}

// Without returns what is in s and not in known, as bytes by database, for Load.
func (s *Settled) Without(known *Settled) map[int32][]byte {
	out := map[int32][]byte{}
	for db, prints := range s.prints {
		slices.Sort(prints)
		var old []uint64
		if known != nil {
			old = known.prints[db]
			slices.Sort(old)
		}
		var b []byte
		for _, p := range slices.Compact(prints) {
			if _, ok := slices.BinarySearch(old, p); !ok {
				b = binary.LittleEndian.AppendUint64(b, p)
			}
		}
		if len(b) > 0 {
			out[db] = b
		}
	}
	return out
}

// Load adds fingerprints that Without wrote.
func (s *Settled) Load(db int32, b []byte) error {
	if len(b)%8 != 0 {
		return fmt.Errorf("fingerprints of %d bytes: a part of one is missing", len(b))
	}
	for ; len(b) > 0; b = b[8:] {
		s.insert(db, binary.LittleEndian.Uint64(b))
	}
	return nil
}
