// Package keyspace holds the words of Redis data: what a key is, whatever way it
// reached us. An RDB file, the RDB inside a replication stream and a live DUMP
// reply all carry the same thing, and all become a Record, so both sides of every
// comparison go through the same code. Standard library only.
package keyspace

import (
	"fmt"
	"strconv"
	"strings"
)

// Vendor says whose numbering of types and opcodes a dump follows: types 22 to 29
// and opcodes 242 to 244 mean different things to Redis and to Valkey.
type Vendor uint8

// The vendors whose dumps are read.
const (
	Redis Vendor = iota
	Valkey
)

// String returns the vendor's name as people write it.
func (v Vendor) String() string {
	if v == Valkey {
		return "Valkey"
	}
	return "Redis"
}

// Format is the dialect of RDB that a value was written in: the magic word's
// vendor and the version number after it (5 to 15 for Redis, 80 and up for Valkey).
type Format struct {
	Vendor  Vendor
	Version int
}

// String returns the format as a person would name it, such as "Redis RDB 10".
func (f Format) String() string { return fmt.Sprintf("%s RDB %d", f.Vendor, f.Version) }

// Kind is the Redis type of a key, free of its encoding.
type Kind uint8

// The kinds of key. Other is a type whose bytes are kept but whose elements are
// not read (modules, arrays).
const (
	Other Kind = iota
	String
	List
	Set
	ZSet
	Hash
	Stream
)

var kindNames = [...]string{"other", "string", "list", "set", "zset", "hash", "stream"}

// String returns the name the TYPE command gives for the kind.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// ParseKind is the inverse of Kind.String; a name it does not know is Other.
func ParseKind(s string) Kind {
	for k, name := range kindNames {
		if name == s {
			return Kind(k)
		}
	}
	return Other
}

// Part says which piece of a value a Record carries. Almost every value is Whole.
// A value too large to hold comes as First, any number of Middle, and Last.
type Part uint8

// The parts of a value.
const (
	Whole Part = iota
	First
	Middle
	Last
)

// Starts reports whether the record begins its value.
func (p Part) Starts() bool { return p == Whole || p == First }

// Ends reports whether the record ends its value.
func (p Part) Ends() bool { return p == Whole || p == Last }

// Record is one key as it travels: name, expiry, type byte and the RDB-encoded
// bytes of the value, enough to put it back bit for bit with RESTORE.
//
// Key and Raw point into a buffer owned by whoever produced the record. They are
// valid as long as that producer says, and must not be changed.
type Record struct {
	DB       int    // database number
	Key      []byte // the key's name, decoded
	Type     byte   // RDB type byte
	Kind     Kind   // the Redis type the type byte stands for
	Format   Format // dialect that Type and Raw are written in
	ExpireAt int64  // absolute expiry in Unix milliseconds; 0 means none
	Raw      []byte // RDB-encoded value, without type byte and key; one part of it unless Part is Whole
	Part     Part   // which part of the value Raw is
	Opaque   bool   // Raw is a cut through one oversized element: keep it, do not look inside
	Meta     []byte // key metadata of Redis 8.6 and later, opcode included, as it stands before the type byte in a dump and in a DUMP payload; almost always nil
	Offset   int64  // where Raw begins in the dump, in bytes from its start; -1 for a live record
}

// ParseFormat is the inverse of Format.String.
func ParseFormat(s string) (Format, error) {
	for _, v := range []Vendor{Redis, Valkey} {
		if rest, ok := strings.CutPrefix(s, v.String()+" RDB "); ok {
			f := Format{Vendor: v}
			f.Version, _ = strconv.Atoi(rest)
			if f.Version > 0 && f.String() == s {
				return f, nil
			}
		}
	}
	return Format{}, fmt.Errorf("%q is no RDB format", s)
}
