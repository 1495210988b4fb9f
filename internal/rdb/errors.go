package rdb

import (
	"errors"
	"fmt"

	"rqvault/internal/keyspace"
)

// What can be wrong with a dump or a value. Test with errors.Is.
var (
	// ErrDamaged: the bytes cannot be what a server wrote.
	ErrDamaged = errors.New("damaged")
	// ErrTruncated: the bytes end too early. Matches ErrDamaged too.
	ErrTruncated = fmt.Errorf("%w: cut short", ErrDamaged)
	// ErrChecksum: the CRC64 over the bytes is another. Matches ErrDamaged too.
	ErrChecksum = fmt.Errorf("%w: checksum does not match", ErrDamaged)
	// ErrUnsupported: perhaps fine, but of a kind this package does not read.
	ErrUnsupported = errors.New("unsupported")
	// ErrNotRDB: the input does not begin like a dump at all.
	ErrNotRDB = errors.New("not an RDB dump")
)

// Error says where in a dump, in which dialect, and what was found there. It
// unwraps to one of the sentinels above. Errors of the source a dump is read from
// are never turned into an Error.
type Error struct {
	Offset int64           // byte of the dump (of the payload for ParsePayload); -1 if the value has no place in a dump
	Format keyspace.Format // zero while the header is not read yet
	What   string          // what was found, in words
	Err    error           // the sentinel
}

// Error tells kind, place and finding, such as "damaged at byte 42 (Redis RDB 10): …".
func (e *Error) Error() string {
	kind, at, in := "damaged", "", ""
	switch {
	case errors.Is(e.Err, ErrTruncated):
		kind = "cut short"
	case errors.Is(e.Err, ErrUnsupported):
		kind = "unsupported"
	case errors.Is(e.Err, ErrNotRDB):
		kind = "not an RDB dump"
	}
	if e.Offset >= 0 {
		at = fmt.Sprintf(" at byte %d", e.Offset)
	}
	if e.Format != (keyspace.Format{}) {
		in = fmt.Sprintf(" (%s)", e.Format)
	}
	return kind + at + in + ": " + e.What
}

// Unwrap returns the sentinel.
func (e *Error) Unwrap() error { return e.Err }

// damaged makes an Error whose offset is relative to the bytes at hand; whoever
// knows where these bytes lie adds the rest with place.
func damaged(at int, what string, args ...any) *Error {
	return &Error{Offset: int64(at), What: fmt.Sprintf(what, args...), Err: ErrDamaged}
}

// unsupported is damaged for things that may be right but are not read here.
func unsupported(at int, what string, args ...any) *Error {
	return &Error{Offset: int64(at), What: fmt.Sprintf(what, args...), Err: ErrUnsupported}
}

// place turns an Error's offset from relative to absolute and names the dialect.
// A negative base means that the bytes have no place in a dump.
func place(err error, base int64, f keyspace.Format) error {
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	if e.Format = f; base < 0 {
		e.Offset = -1
	} else {
		e.Offset += base
	}
	return err
}
