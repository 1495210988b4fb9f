package job

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// A row is built from fragments found all over a dump: the hash here, a place there.
// Fragments travel through an external sort in this encoding: a tag byte, then fixed
// fields as varints and strings as uvarint length and bytes. It never leaves one run
// of the program, so it has no version.

// Fragment tags.
const (
	tagHash byte = iota + 1
	tagPlace
	tagPart
	tagResult
	tagLink
)

// maxLinks bounds what is kept of the parents of one job.
const maxLinks = 4096

var errFragment = errors.New("job: damaged fragment")

// numbers are the numbers of a row that a job's hash tells, in the order of a fragment.
func (r *Row) numbers() [12]*int64 {
	return [...]*int64{&r.CreatedAt, &r.EnqueuedAt, &r.StartedAt, &r.EndedAt, &r.HeartbeatAt, &r.ExpireAt,
		&r.Timeout, &r.TTL, &r.ResultTTL, &r.FailureTTL, &r.RetriesLeft, &r.RepeatsLeft}
}

// AppendHash encodes what a job's hash said: everything but places and parts. Of its
// numbers only those that are not 0 travel, as eight bytes each; a mask says which.
func AppendHash(b []byte, r *Row) []byte {
	b = append(b, tagHash, flags(r.Exists, r.HasResultTTL, r.AtFront, r.AllowParentFailed, r.HasFailureTTL), 0, 0)
	at, mask := len(b)-2, uint16(0)
	for i, n := range r.numbers() {
		if *n != 0 {
			mask |= 1 << i
			b = binary.LittleEndian.AppendUint64(b, uint64(*n))
		}
	}
	binary.LittleEndian.PutUint16(b[at:], mask)
	for _, s := range [...]string{string(r.Status), r.Queue, r.Func, r.Group, r.Worker, r.Problem} {
		b = appendString(b, s)
	}
	b = binary.AppendUvarint(b, uint64(len(r.Parents)))
	for _, p := range r.Parents {
		b = appendString(b, p)
	}
	return b
}

// AppendPlace encodes one place. alt says that the fragment is filed under the job its
// member would stand for if no job of the whole name existed.
func AppendPlace(b []byte, p Place, alt bool) []byte {
	b = append(b, tagPlace, flags(alt))
	b = binary.AppendVarint(b, p.Position)
	b = binary.AppendUvarint(b, math.Float64bits(p.Score))
	return appendString(appendString(appendString(b, string(p.Kind)), p.Queue), p.Member)
}

// AppendPart encodes one part.
func AppendPart(b []byte, p Part) []byte {
	b = append(b, tagPart)
	for _, n := range []int64{int64(p.Type), p.ExpireAt, p.Offset, p.Length, int64(p.Frame), p.Digest} {
		b = binary.AppendVarint(b, n)
	}
	return appendString(b, string(p.Name))
}

// AppendLink encodes one parent of a job: as a member of the job's own set of
// dependencies, or (listed) as the owner of a set of dependents that names the job.
func AppendLink(b []byte, parent []byte, listed bool) []byte {
	return appendString(append(b, tagLink, flags(listed)), string(parent))
}

// AppendResult encodes what the newest result said.
func AppendResult(b []byte, r *Row) []byte {
	b = append(b, tagResult)
	return binary.AppendVarint(binary.AppendVarint(b, r.ResultAt), int64(r.ResultType))
}

// Merge decodes one fragment, or several in a row, into the row they belong to. A place,
// once it stands at the end of the row's, is shown to keep with its alt flag, and taken out
// again if keep says so. names may be nil.
func (r *Row) Merge(fragment []byte, names *Names, keep func(p *Place, alt bool) bool) error {
	d := decoder{b: fragment, names: names}
	for more := true; more; more = len(d.b) > 0 && d.err == nil {
		tag := d.flags()
		switch tag {
		case tagHash:
			d.hash(r)
		case tagPlace:
			d.place(r, keep)
		case tagPart:
			r.Parts = append(r.Parts, Part{Type: int32(d.varint()), ExpireAt: d.varint(), Offset: d.varint(), Length: d.varint(),
				Frame: int32(d.varint()), Digest: d.varint(), Name: PartName(d.name())})
		case tagLink:
			d.link(r)
		case tagResult:
			r.ResultAt, r.ResultType = d.varint(), int32(d.varint())
		default:
			return errFragment
		}
		if d.err != nil {
			return fmt.Errorf("%w of kind %d", errFragment, tag)
		}
	}
	return nil
}

type decoder struct {
	b     []byte
	names *Names
	err   error
}

func (d *decoder) place(r *Row, keep func(p *Place, alt bool) bool) {
	alt := d.flags()&1 != 0
	r.Places = append(r.Places, Place{Position: d.varint(), Score: math.Float64frombits(d.uvarint()),
		Kind: PlaceKind(d.name()), Queue: d.name(), Member: d.string()})
	if last := len(r.Places) - 1; d.err != nil || !keep(&r.Places[last], alt) {
		r.Places = r.Places[:last]
	}
}

func (d *decoder) link(r *Row) {
	links := &r.ParentSet
	if d.flags()&1 != 0 {
		links = &r.ListedBy
	}
	if id := d.string(); d.err == nil && len(*links) < maxLinks {
		*links = append(*links, id)
	}
}

func (d *decoder) hash(r *Row) {
	f := d.flags()
	r.Exists, r.HasResultTTL, r.AtFront, r.AllowParentFailed, r.HasFailureTTL = f&1 != 0, f&2 != 0, f&4 != 0, f&8 != 0, f&16 != 0
	mask := d.uint16()
	for i, n := range r.numbers() {
		if *n = 0; mask>>i&1 != 0 {
			*n = d.int64()
		}
	}
	r.Status = Status(d.name())
	r.Queue, r.Func, r.Group, r.Worker = d.name(), d.name(), d.name(), d.name()
	// What is wrong with the places may be known before the hash is met.
	if problem := d.string(); r.Problem == "" {
		r.Problem = problem
	}
	r.Parents = nil // a scan may meet a hash twice
	n := d.uvarint()
	if n > uint64(len(d.b)) {
		d.err = errFragment
		return
	}
	for range n {
		r.Parents = append(r.Parents, d.string())
	}
}

func (d *decoder) flags() byte {
	if len(d.b) == 0 {
		d.err = errFragment
		return 0
	}
	f := d.b[0]
	d.b = d.b[1:]
	return f
}

func (d *decoder) uint16() uint16 {
	if len(d.b) < 2 {
		d.err, d.b = errFragment, nil
		return 0
	}
	v := binary.LittleEndian.Uint16(d.b)
	d.b = d.b[2:]
	return v
}

func (d *decoder) int64() int64 {
	if len(d.b) < 8 {
		d.err, d.b = errFragment, nil
		return 0
	}
	v := binary.LittleEndian.Uint64(d.b)
	d.b = d.b[8:]
	return int64(v)
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	return d.advance(v, n)
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	d.advance(0, n)
	return v
}

func (d *decoder) advance(v int64, n int) int64 {
	if n <= 0 {
		d.err, d.b = errFragment, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) string() string { return string(d.bytes()) }

// name is a text that many rows share.
func (d *decoder) name() string { return d.names.One(d.bytes()) }

func (d *decoder) bytes() []byte {
	n, head := uint64(0), 1
	if len(d.b) > 0 && d.b[0] < 0x80 {
		n = uint64(d.b[0])
	} else {
		n, head = binary.Uvarint(d.b)
	}
	if head <= 0 || len(d.b) < head || n > uint64(len(d.b)-head) {
		d.err, d.b = errFragment, nil
		return nil
	}
	b := d.b[head : head+int(n)]
	d.b = d.b[head+int(n):]
	return b
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func flags(bits ...bool) byte {
	var f byte
	for i, on := range bits {
		if on {
			f |= 1 << i
		}
	}
	return f
}
