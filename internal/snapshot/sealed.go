package snapshot

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
)

// A sealed document is a JSON object whose first member is the SHA-256 of everything
// after it, so that a flipped bit anywhere in the file is noticed, and a newer version
// may add members that an older one hashes without knowing them:
//
//	{
//	  "digest": "sha256:<64 hex digits>",
//	<rest of the indented JSON object, hashed from the byte after the comma>

// Errors of reading a stored document.
var (
	// ErrDamaged: stored bytes are not the ones that were written.
	ErrDamaged = errors.New("stored data damaged")
	// ErrTooNew: written by a later version of rqvault, in a format this one does not know.
	ErrTooNew = errors.New("format too new")
)

// FormatVersion is the version of the stored layout this code writes and reads.
const FormatVersion = 1

const (
	sealHead = "{\n  \"digest\": \"sha256:"
	sealTail = "\","
)

// maxDocument bounds what is read of a manifest or result: a manifest grows with the
// number of queues, not of jobs.
const maxDocument = 64 << 20

// Seal marshals v, a struct, into a sealed document.
func Seal(v any) ([]byte, error) {
	body, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("marshal: %w", err)
	}
	rest, ok := bytes.CutPrefix(body, []byte("{"))
	if !ok || len(rest) < 3 {
		return nil, errors.New("marshal: only a non-empty object can be sealed")
	}
	rest = append(rest, '\n')
	sum := sha256.Sum256(rest)
	return append([]byte(sealHead+hex.EncodeToString(sum[:])+sealTail), rest...), nil
}

// Unseal checks a sealed document and unmarshals it into v.
func Unseal(b []byte, v any) error {
	rest, ok := bytes.CutPrefix(b, []byte(sealHead))
	if !ok || len(rest) < 2*sha256.Size+len(sealTail) {
		return fmt.Errorf("%w: no digest at its beginning", ErrDamaged)
	}
	want, rest := string(rest[:2*sha256.Size]), rest[2*sha256.Size:]
	rest, ok = bytes.CutPrefix(rest, []byte(sealTail))
	sum := sha256.Sum256(rest)
	if !ok || hex.EncodeToString(sum[:]) != want {
		return fmt.Errorf("%w: its digest does not match", ErrDamaged)
	}
	if err := json.Unmarshal(append([]byte("{"), rest...), v); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return nil
}
