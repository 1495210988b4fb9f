package rdb

import (
	"encoding/binary"

	"rqvault/internal/keyspace"
)

// Payload appends to dst what RESTORE takes for the record: type, value, the lowest
// RDB version that knows the type (2 bytes LE), CRC64 (8 bytes LE). The version is
// only a gate at the server, so the lowest one lets values go to older servers too.
// It returns nil if the value has no payload: a part, or a type that leans on
// another place of its dump (Redis' hash templates, types 30 and 32).
func Payload(dst []byte, rec *keyspace.Record) []byte {
	s := lookup(rec.Type, rec.Format)
	if s == nil || s.since == 0 || rec.Part != keyspace.Whole {
		return nil
	}
	since := s.since
	if len(rec.Meta) > 0 {
		since = max(since, metaSince)
	}
	from := len(dst)
	dst = append(dst, rec.Meta...)
	dst = append(append(dst, rec.Type), rec.Raw...)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(since))
	return binary.LittleEndian.AppendUint64(dst, crcUpdate(0, dst[from:]))
}

// metaSince is the first version whose payloads may begin with key metadata.
const metaSince = 13

// ParsePayload takes apart a DUMP reply: it checks the CRC64 and that the bytes are
// exactly one value of the type. raw lies in p. Offsets in errors are into p. A
// payload that begins with key metadata (Redis 8.6) is refused as ErrUnsupported,
// since the results have no place for it.
func ParsePayload(p []byte) (typ byte, version int, raw []byte, err error) {
	if len(p) < 1+payloadFooter {
		return 0, 0, nil, &Error{What: "payload shorter than its type and footer", Err: ErrTruncated}
	}
	body := p[:len(p)-checksumSize]
	if crcUpdate(0, body) != binary.LittleEndian.Uint64(p[len(body):]) {
		return 0, 0, nil, &Error{Offset: int64(len(body)), What: "checksum does not match the payload", Err: ErrChecksum}
	}
	body = body[:len(body)-2]
	version = int(binary.LittleEndian.Uint16(p[len(body):]))
	typ, raw = body[0], body[1:]
	f := FormatOfPayload(version)
	s := lookup(typ, f)
	if s == nil || s.since == 0 {
		return 0, 0, nil, place(unsupported(0, "payload of type %d", typ), 0, f)
	}
	var m machine
	m.start(s.prog)
	end, st, err := m.run(raw, 0)
	switch {
	case err != nil:
	case st == needMore:
		err = &Error{Offset: int64(end), What: s.name + ": " + m.missing(), Err: ErrTruncated}
	case end != len(raw):
		err = damaged(end, "%d bytes after the value", len(raw)-end)
	}
	if err != nil {
		return 0, 0, nil, place(err, 1, f)
	}
	return typ, version, raw, nil
}

// FormatOfPayload returns the dialect of a payload that carries a version. Valkey
// counts from 80 since it parted ways; below, both vendors' types mean the same.
func FormatOfPayload(version int) keyspace.Format {
	if version >= oldestValkey {
		return keyspace.Format{Vendor: keyspace.Valkey, Version: version}
	}
	return keyspace.Format{Version: version}
}
