package lease

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// format is the version of what is stored.
const format = 1

// maxTTL bounds how long one that ended without a word keeps all others waiting.
const maxTTL = time.Hour

// ErrForeign: what is stored under the lease's name is no lease, or one of a newer rqvault.
var ErrForeign = errors.New("not a lease that this rqvault knows")

// record is the stored form of a lease.
type record struct {
	Format     int    `json:"format"`
	Generation uint64 `json:"generation"` // one more with each holder
	Owner      string `json:"owner"`      // for people
	Nonce      string `json:"nonce"`      // another one in each writing: the tag always changes
	TTL        int64  `json:"ttl_ms"`
	Released   bool   `json:"released"`
}

// ttl is how long the record's writer leads without another word.
func (r record) ttl() time.Duration { return time.Duration(r.TTL) * time.Millisecond }

// encode gives the record a new nonce and returns it with its stored form.
func (r record) encode() (record, []byte) {
	r.Format, r.Nonce = format, rand.Text()
	b, _ := json.MarshalIndent(r, "", "  ") // cannot fail for numbers and texts
	return r, append(b, '\n')
}

// parse reads a stored record. Members that are not known are of a later rqvault that
// keeps to this format.
func parse(b []byte) (record, error) {
	var r record
	if err := json.Unmarshal(b, &r); err != nil {
		return record{}, fmt.Errorf("%w: %w", ErrForeign, err)
	}
	switch {
	case r.Format != format:
		return record{}, fmt.Errorf("%w: its format is %d, want %d", ErrForeign, r.Format, format)
	case r.Nonce == "" || r.Generation == 0 || r.TTL <= 0 || r.TTL > maxTTL.Milliseconds():
		return record{}, fmt.Errorf("%w: generation %d, ttl %d ms, a nonce of %d bytes", ErrForeign, r.Generation, r.TTL, len(r.Nonce))
	}
	return r, nil
}
