package rdb_test

import (
	"encoding/binary"
	"fmt"
	"hash/crc64"
	"math/rand/v2"
)

// builder writes RDB by hand, byte for byte, with no help from the package under
// test. Every method appends and returns the builder.
type builder struct{ b []byte }

// dump begins a dump with the header given, such as "REDIS0010".
func dump(header string) *builder { return &builder{[]byte(header)} }

func (b *builder) raw(p ...byte) *builder {
	b.b = append(b.b, p...)
	return b
}

func (b *builder) bytes(p []byte) *builder { return b.raw(p...) }

// num appends a length in its shortest form.
func (b *builder) num(n uint64) *builder {
	switch {
	case n < 1<<6:
		return b.raw(byte(n))
	case n < 1<<14:
		return b.raw(0x40|byte(n>>8), byte(n))
	case n < 1<<32:
		b.b = binary.BigEndian.AppendUint32(append(b.b, 0x80), uint32(n))
		return b
	}
	b.b = binary.BigEndian.AppendUint64(append(b.b, 0x81), n)
	return b
}

// nums appends several lengths.
func (b *builder) nums(ns ...uint64) *builder {
	for _, n := range ns {
		b.num(n)
	}
	return b
}

// str appends a plain string.
func (b *builder) str(s string) *builder {
	b.num(uint64(len(s)))
	b.b = append(b.b, s...)
	return b
}

// strs appends several plain strings.
func (b *builder) strs(ss ...string) *builder {
	for _, s := range ss {
		b.str(s)
	}
	return b
}

// lzf appends a string in LZF form made of literals only.
func (b *builder) lzf(s string) *builder {
	var c []byte
	for i := 0; i < len(s); i += 32 {
		part := s[i:min(i+32, len(s))]
		c = append(append(c, byte(len(part)-1)), part...)
	}
	b.raw(0xC3).num(uint64(len(c))).num(uint64(len(s)))
	return b.raw(c...)
}

// end appends the end mark and the checksum.
func (b *builder) end() []byte {
	b.raw(255)
	return binary.LittleEndian.AppendUint64(b.b, jonesOf(b.b))
}

// endUnchecked appends the end mark and eight zero bytes.
func (b *builder) endUnchecked() []byte {
	b.raw(255, 0, 0, 0, 0, 0, 0, 0, 0)
	return b.b
}

// jonesOf is Redis' checksum, written once more here so that tests do not ask the
// code under test what is right.
func jonesOf(p []byte) uint64 {
	return ^crc64.Update(^uint64(0), crc64.MakeTable(0x95AC9329AC4BC9B5), p)
}

// jobFields are the fields of a job hash as RQ 1.13 writes it; the values are of
// the usual lengths.
func jobFields(r *rand.Rand) []string {
	data := make([]byte, 90+r.IntN(200))
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	at := fmt.Sprintf("2026-11-23T06:%02d:%02d.%06dZ", r.IntN(60), r.IntN(60), r.IntN(1e6))
	return []string{"created_at", at, "data", string(data), "success_callback_name", "", "failure_callback_name", "",
		"started_at", at, "ended_at", "", "last_heartbeat", at, "worker_name", "", "origin", "default",
		"description", "myapp.tasks.send_mail(user_id=" + fmt.Sprint(r.IntN(1e6)) + ", template='welcome')",
		"enqueued_at", at, "timeout", "180", "status", "queued", "retries_left", "3"}
}

// rqDump makes a dump like the ones this product is for: jobs job hashes in db 0,
// the list of their queue and a registry.
func rqDump(jobs int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	b := dump("REDIS0010").raw(250).str("redis-ver").str("7.0.15").raw(254).num(0).raw(251).nums(uint64(jobs), 0)
	b.b = append(make([]byte, 0, jobs*900+1<<20), b.b...)
	ids := make([]string, jobs)
	for i := range ids {
		ids[i] = fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", r.Uint32(), r.IntN(1<<16), r.IntN(1<<12), r.IntN(1<<12), r.Uint64N(1<<48))
		fields := jobFields(r)
		b.raw(4).str("rq:job:" + ids[i]).num(uint64(len(fields) / 2)).strs(fields...)
	}
	b.raw(1).str("rq:queue:default").num(uint64(jobs)).strs(ids...)
	b.raw(5).str("rq:wip:default").num(uint64(jobs / 10))
	for i := range jobs / 10 {
		b.str(ids[i]).raw(0, 0, 0, 0, 0x50, 0xda, 0xd9, 0x41)
	}
	return b.end()
}
