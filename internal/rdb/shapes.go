package rdb

import "rqvault/internal/keyspace"

// Opcodes: bytes that stand where a type byte could stand. Source: redis 7.4 rdb.h,
// and for 242, 243 and Valkey's 243 and 244 the vendors' documents.
const (
	opcodeTemplate   = 242 // Redis 15: hash template; Valkey 81: inline command (not read)
	opcodeMeta       = 243 // Redis 13: key metadata; Valkey 80: slot import
	opcodeSlotInfo   = 244
	opcodeFunction   = 245
	opcodeModuleAux  = 247
	opcodeIdle       = 248
	opcodeFreq       = 249
	opcodeAux        = 250
	opcodeResize     = 251
	opcodeExpireMs   = 252
	opcodeExpireSec  = 253
	opcodeSelect     = 254
	opcodeEOF        = 255
	moduleEnd        = 0
	moduleSigned     = 1
	moduleUnsigned   = 2
	moduleFloat      = 3
	moduleDouble     = 4
	moduleString     = 5
	quicklistPlain   = 1
	quicklistPacked  = 2
	newestRedis      = 15
	newestValkey     = 81
	oldestRedis      = 5
	oldestValkey     = 80
	headerSize       = 9
	checksumSize     = 8
	payloadFooter    = 10
	maxString        = 1 << 40 // bytes; no server holds a longer string or more elements, so a larger length is damage
	maxDB            = 1<<31 - 1
	maxDBs           = 1 << 16 // databases in one dump; more are not believed
	maxTemplates     = 1 << 16 // hash templates in one dump
	maxLZFRatio      = 88      // LZF's best: 3 bytes stand for 264
	longestPrimitive = 28      // bytes of the longest thing the machine reads in one go
)

// op is one step of a program that passes over a value or an opcode's payload.
type op byte

const (
	opEnd            op = iota
	opLen               // a length
	opStr               // a string
	opStrs              // a length n, then n strings
	opPairs             // a length n, then n times two strings
	opLoop              // a length n, then n times what follows up to opNext
	opNext              // end of the loop's body
	op1                 // that many raw bytes
	op4                 //
	op8                 //
	op16                //
	opScore             // a sorted set's score as text: one byte of length, or 253 to 255 alone
	opContainer         // a quicklist node's container: 1 plain, 2 packed
	opModule            // a module's annotated values up to its end mark
	opArray             // a loop whose length is followed by a flag, and by a cursor if the flag is 1
	opTagged            // an array's tag and value
	opTemplateFields    // a template's id, then as many strings as that template has fields
)

// encoding says how the bytes of a value hold its elements.
type encoding uint8

const (
	encNone     encoding = iota // elements are not read
	encPlain                    // one string per element, or field and value
	encScoreTxt                 // strings with scores as text
	encScoreBin                 // strings with scores as little-endian doubles
	encZiplist
	encZipmap
	encIntset
	encListpack
	encQuick1   // a row of ziplists
	encQuick2   // a row of listpacks and plain nodes
	encTTL      // ttl, field, value after an 8-byte minimum
	encTTLRC    // ttl, field, value
	encTTLPack  // listpack of triplets after an 8-byte minimum
	encTTLPack0 // listpack of triplets
	encTTLAfter // field, value, 8-byte expiry
	encStream
)

// shape is all that is known of one type: how to pass over it, what it is, how its
// elements lie, and the lowest RDB version a RESTORE payload of it needs.
type shape struct {
	name  string
	kind  keyspace.Kind
	enc   encoding
	since int
	prog  []op
}

var (
	progStr      = []op{opStr, opEnd}
	progNode     = []op{opLoop, opStr, opStr, opNext, opLen, opLen, opLen} // a stream's nodes, length, last id
	progMeta     = []op{opLoop, op4, opModule, opNext, opEnd}
	progImport   = []op{opStr, opLoop, opLen, opLen, opNext, opEnd}
	progTemplate = []op{opLen, opLoop, opStr, opNext, opEnd}
	progLens     = []op{opLen, opLen, opLen, opLen, opLen} // first id, max deleted id, entries added
)

// streamProg builds the program for a stream: version 1 (type 15), 2 (19), 3 (21),
// 4 (26, idempotent producers) and 5 (27, unowned pending entries).
func streamProg(version int) []op {
	p := append([]op{}, progNode...)
	if version >= 2 {
		p = append(p, progLens...)
	}
	p = append(p, opLoop, opStr, opLen, opLen) // group: name, last id
	if version >= 2 {
		p = append(p, opLen) // entries read
	}
	p = append(p, opLoop, op16, op8, opLen, opNext) // pending: id, time, count
	p = append(p, opLoop, opStr, op8)               // consumer: name, seen
	if version >= 3 {
		p = append(p, op8) // active
	}
	p = append(p, opLoop, op16, opNext, opNext) // its pending ids
	if version >= 5 {
		p = append(p, opLoop, op16, opNext)
	}
	p = append(p, opNext)
	if version >= 4 {
		p = append(p, opLen, opLen, opLoop, opStr, opLoop, opStr, opLen, opLen, opNext, opNext, opLen, opLen)
	}
	return append(p, opEnd)
}

// common holds the types that mean the same in every dialect.
var common = [22]shape{
	0:  {"string", keyspace.String, encPlain, 6, progStr},
	1:  {"list", keyspace.List, encPlain, 6, []op{opStrs, opEnd}},
	2:  {"set", keyspace.Set, encPlain, 6, []op{opStrs, opEnd}},
	3:  {"zset with text scores", keyspace.ZSet, encScoreTxt, 6, []op{opLoop, opStr, opScore, opNext, opEnd}},
	4:  {"hash", keyspace.Hash, encPlain, 6, []op{opPairs, opEnd}},
	5:  {"zset", keyspace.ZSet, encScoreBin, 8, []op{opLoop, opStr, op8, opNext, opEnd}},
	7:  {"module value", keyspace.Other, encNone, 8, []op{opLen, opModule, opEnd}},
	9:  {"hash as zipmap", keyspace.Hash, encZipmap, 6, progStr},
	10: {"list as ziplist", keyspace.List, encZiplist, 6, progStr},
	11: {"set as intset", keyspace.Set, encIntset, 6, progStr},
	12: {"zset as ziplist", keyspace.ZSet, encZiplist, 6, progStr},
	13: {"hash as ziplist", keyspace.Hash, encZiplist, 6, progStr},
	14: {"list as quicklist of ziplists", keyspace.List, encQuick1, 7, []op{opStrs, opEnd}},
	15: {"stream", keyspace.Stream, encStream, 9, streamProg(1)},
	16: {"hash as listpack", keyspace.Hash, encListpack, 10, progStr},
	17: {"zset as listpack", keyspace.ZSet, encListpack, 10, progStr},
	18: {"list as quicklist of listpacks", keyspace.List, encQuick2, 10, []op{opLoop, opContainer, opStr, opNext, opEnd}},
	19: {"stream (7.0)", keyspace.Stream, encStream, 10, streamProg(2)},
	20: {"set as listpack", keyspace.Set, encListpack, 11, progStr},
	21: {"stream (7.2)", keyspace.Stream, encStream, 11, streamProg(3)},
}

// special holds types whose number depends on who wrote the dump, with the first
// version that knows them. Types 29 (sources disagree on its layout), 33 (special
// builds only) and Valkey's 23 (no known layout) are left out on purpose.
var special = []struct {
	vendor keyspace.Vendor
	from   int
	typ    byte
	shape
}{
	{keyspace.Redis, 12, 22, shape{"hash with field expiry (7.4 rc)", keyspace.Hash, encTTLRC, 12, []op{opLoop, opLen, opStr, opStr, opNext, opEnd}}},
	{keyspace.Redis, 12, 23, shape{"hash as listpack with field expiry (7.4 rc)", keyspace.Hash, encTTLPack0, 12, progStr}},
	{keyspace.Redis, 12, 24, shape{"hash with field expiry", keyspace.Hash, encTTL, 12, []op{op8, opLoop, opLen, opStr, opStr, opNext, opEnd}}},
	{keyspace.Redis, 12, 25, shape{"hash as listpack with field expiry", keyspace.Hash, encTTLPack, 12, []op{op8, opStr, opEnd}}},
	{keyspace.Redis, 13, 26, shape{"stream (8.6)", keyspace.Stream, encStream, 13, streamProg(4)}},
	{keyspace.Redis, 14, 27, shape{"stream (8.8)", keyspace.Stream, encStream, 14, streamProg(5)}},
	{keyspace.Redis, 14, 28, shape{"array", keyspace.Other, encNone, 14, []op{opArray, opLen, opTagged, opNext, opEnd}}},
	{keyspace.Redis, 15, 30, shape{"hash as templated listpack", keyspace.Hash, encNone, 0, progStr}},
	{keyspace.Redis, 15, 31, shape{"hash of a template", keyspace.Hash, encPlain, 15, []op{opPairs, opEnd}}},
	{keyspace.Redis, 15, 32, shape{"templated hash", keyspace.Hash, encNone, 0, []op{opTemplateFields, opEnd}}},
	{keyspace.Valkey, 80, 22, shape{"hash with field expiry", keyspace.Hash, encTTLAfter, 80, []op{opLoop, opStr, opStr, op8, opNext, opEnd}}},
}

// lookup returns the shape of a type in a dialect, or nil if this package does not
// know it for certain.
func lookup(typ byte, f keyspace.Format) *shape {
	if int(typ) < len(common) {
		if s := &common[typ]; s.prog != nil {
			return s
		}
		return nil
	}
	for i := range special {
		s := &special[i]
		if s.typ == typ && s.vendor == f.Vendor && f.Version >= s.from {
			return &s.shape
		}
	}
	return nil
}

// KindOf returns the Redis type that a type byte stands for in a dialect, and
// whether values of that type can be framed at all.
func KindOf(typ byte, f keyspace.Format) (keyspace.Kind, bool) {
	if s := lookup(typ, f); s != nil {
		return s.kind, true
	}
	return keyspace.Other, false
}

// payloads holds, per opcode that has one, the program that passes over its payload.
// The two opcodes that vendors use differently are in opcodeProg.
var payloads = map[byte][]op{
	opcodeSlotInfo:  {opLen, opLen, opLen, opEnd},
	opcodeFunction:  {opStr, opEnd},
	opcodeModuleAux: {opLen, opLen, opLen, opModule, opEnd},
	opcodeIdle:      {opLen, opEnd},
	opcodeFreq:      {op1, opEnd},
	opcodeAux:       {opStr, opStr, opEnd},
	opcodeResize:    {opLen, opLen, opEnd},
	opcodeExpireMs:  {op8, opEnd},
	opcodeExpireSec: {op4, opEnd},
	opcodeSelect:    {opLen, opEnd},
}

// opcodeProg returns the program for an opcode's payload in a dialect, or nil if
// the opcode is unknown there.
func opcodeProg(code byte, f keyspace.Format) []op {
	redis := f.Vendor == keyspace.Redis
	switch {
	case code == opcodeMeta && redis && f.Version >= 13:
		return progMeta
	case code == opcodeMeta && !redis:
		return progImport
	case code == opcodeTemplate && redis && f.Version >= 15:
		return progTemplate
	case code == opcodeTemplate || code == opcodeMeta:
		return nil
	}
	return payloads[code]
}
