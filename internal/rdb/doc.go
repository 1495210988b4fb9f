// Package rdb reads and writes Redis' snapshot format, RDB, and the value payloads
// of DUMP and RESTORE, without trusting a byte of either.
//
// A dump is a header, a row of items, and a footer:
//
//	"REDIS" 4 digits | "VALKEY" 3 digits      version 5 to 15 | 80 to 81
//	opcode payload                            250 aux, 254 selectdb, 251 resizedb, 245 function …
//	[252|253 expiry] [248|249 idle|freq] type key value      one record
//	255 crc64                                 8 bytes LE over all before; zero: not computed
//
// Numbers that count or measure are lengths of 1, 2, 5 or 9 bytes, told apart by the
// top bits of the first; strings are a length and that many bytes, or, where the top
// bits are 11, an integer or an LZF-compressed string:
//
//	00xxxxxx | 01xxxxxx x8 | 80 x32 BE | 81 x64 BE
//	C0 i8 | C1 i16 LE | C2 i32 LE | C3 len(compressed) len(raw) bytes
//
// The Walker finds where each value ends without decoding it, by small programs
// (one per type, see shapes.go) that a resumable machine runs over whatever bytes
// have arrived. Elements, StreamTail and Decode look inside one framed value.
// No buffer is ever sized by a number read from the input alone.
//
// Sources of the format: rdb.c, listpack.c, ziplist.c, zipmap.c, intset.c and
// t_stream.c of Redis 5.0 to 7.4 and Valkey 8; later versions by their documents.
package rdb
