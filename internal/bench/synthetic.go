package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"time"

	"rqvault/backup"
)

// synthetic is a dump that is made while it is read, as long as wanted: no server could
// hold it here. Of every ten keys eight are jobs in one queue and two are sessions; listed
// ids stand in one more list, and so many values are large, just within what is held whole.
type synthetic struct{ keys, listed, large int }

// Open implements backup.Source.
func (s synthetic) Open(context.Context) (*backup.Dump, error) {
	r, w := io.Pipe()
	go func() {
		d := &dumpWriter{Writer: bufio.NewWriterSize(w, 1<<20), r: rand.New(rand.NewPCG(seed, uint64(s.keys)))}
		_ = w.CloseWithError(d.all(s))
	}()
	return &backup.Dump{Body: r, Size: -1, Via: "scan", Atomic: true, At: base}, nil
}

// dumpWriter writes an RDB file. Errors stay until Flush.
type dumpWriter struct {
	*bufio.Writer
	r *rand.Rand
}

// Of the RDB format: see internal/rdb.
const (
	typeString, typeHash, typeQuicklist2    = 0, 4, 18
	opcodeExpireMs, opcodeSelect, opcodeEOF = 0xFC, 0xFE, 0xFF
	nodeIDs                                 = 128
	largeValue                              = 7 << 20
)

func (d *dumpWriter) all(s synthetic) error {
	_, _ = d.WriteString("REDIS0010" + string([]byte{opcodeSelect, 0}))
	nodes := (s.listed + nodeIDs - 1) / nodeIDs
	if nodes > 0 {
		d.key(typeQuicklist2, "rq:queue:long")
		d.length(nodes)
	}
	for range nodes {
		d.length(2) // a packed node
		d.text(string(d.node()))
	}
	for i := range s.large {
		d.key(typeString, "image:"+strconv.Itoa(i))
		d.length(largeValue)
		for range largeValue >> 10 {
			_, _ = d.WriteString(d.noise(1 << 10))
		}
	}
	for i := range s.keys {
		if i%5 == 4 {
			_ = d.WriteByte(opcodeExpireMs)
			_, _ = d.Write(binary.LittleEndian.AppendUint64(nil, far*1000))
			d.key(typeString, "session:"+strconv.Itoa(i))
			d.text(d.noise(80))
			continue
		}
		d.job(i)
	}
	_ = d.WriteByte(opcodeEOF)
	_, _ = d.Write(make([]byte, 8)) // no checksum
	return d.Flush()
}

func (d *dumpWriter) job(i int) {
	d.key(typeHash, "rq:job:"+d.id())
	at := stamp(base.Add(time.Duration(i) * time.Millisecond))
	fields := []string{"data", d.noise(70), "status", "queued", "origin", queues[i%len(queues)], "created_at", at, "enqueued_at", at,
		"description", "app.tasks.run_" + strconv.Itoa(i%40) + "()", "timeout", "180", "started_at", "", "ended_at", ""}
	d.length(len(fields) / 2)
	for _, f := range fields {
		d.text(f)
	}
}

func (d *dumpWriter) key(typ byte, name string) {
	_ = d.WriteByte(typ)
	d.text(name)
}

func (d *dumpWriter) text(s string) {
	d.length(len(s))
	_, _ = d.WriteString(s)
}

func (d *dumpWriter) length(n int) {
	switch {
	case n < 1<<6:
		_ = d.WriteByte(byte(n))
	case n < 1<<14:
		_, _ = d.Write([]byte{0x40 | byte(n>>8), byte(n)})
	default:
		_, _ = d.Write(binary.BigEndian.AppendUint32([]byte{0x80}, uint32(n)))
	}
}

func (d *dumpWriter) noise(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(d.r.Uint32())
	}
	return string(b)
}

func (d *dumpWriter) id() string {
	return fmt.Sprintf("%016x-%016x-00", d.r.Uint64(), d.r.Uint64())
}

// node is a listpack of ids.
func (d *dumpWriter) node() []byte {
	b := make([]byte, 6)
	for range nodeIDs {
		id := d.id()
		b = append(append(append(b, 0x80|byte(len(id))), id...), byte(1+len(id)))
	}
	b = append(b, 0xFF)
	binary.LittleEndian.PutUint32(b, uint32(len(b)))
	binary.LittleEndian.PutUint16(b[4:], nodeIDs)
	return b
}
