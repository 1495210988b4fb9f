package rdb

import (
	"encoding/binary"

	"rqvault/internal/keyspace"
)

// Bounds on what a Walker keeps of a dump besides its chunk.
const (
	maxAux      = 64
	maxAuxValue = 1 << 10
	maxAuxText  = 64 << 10
	maxRecords  = 16 << 10 // records per chunk, so that tiny keys do not outgrow their data
)

// payload acts on an opcode whose payload is complete.
func (w *Walker) payload() error {
	it := &w.item
	b := w.buf[max(it.body, 0):w.pos]
	switch it.code {
	case opcodeExpireMs:
		it.expire = expiry(int64(binary.LittleEndian.Uint64(b)))
	case opcodeExpireSec:
		it.expire = expiry(int64(int32(binary.LittleEndian.Uint32(b))) * 1000)
	case opcodeIdle, opcodeFreq:
	case opcodeMeta:
		if w.sum.Format.Vendor == keyspace.Redis {
			it.meta = [2]int{it.body - 1, w.pos}
			break
		}
		return w.endOpcode(b)
	default:
		return w.endOpcode(b)
	}
	it.prefixed = true
	return nil
}

// expiry keeps a time in the past apart from no expiry at all, which is zero.
func expiry(ms int64) int64 { return max(ms, 1) }

// endOpcode acts on an opcode that stands for itself and ends its item.
func (w *Walker) endOpcode(b []byte) error {
	it := &w.item
	var err error
	switch it.code {
	case opcodeSelect:
		n, _, _ := readLen(b)
		err = w.selectDB(n)
	case opcodeFunction:
		w.sum.Functions++
	case opcodeAux:
		if !it.broken {
			err = w.aux(b)
		}
	case opcodeModuleAux:
		if !it.broken {
			err = checkModuleAux(b)
		}
	case opcodeTemplate:
		if it.broken {
			return unsupported(w.pos, "hash template of more than %d bytes", w.opt.MaxValue)
		}
		err = w.template(b)
	}
	if e, ok := err.(*Error); ok {
		e.Offset += int64(it.body)
	}
	it.broken = false
	if !it.prefixed {
		it.start = w.pos
	}
	return err
}

// selectDB makes n the database of the keys that follow; it is 0 before the first
// such opcode.
func (w *Walker) selectDB(n uint64) error {
	if n > maxDB {
		return damaged(0, "database number %d", n)
	}
	at, known := w.dbs[int(n)]
	if !known {
		if len(w.dbs) >= maxDBs {
			return damaged(0, "more than %d databases", maxDBs)
		}
		at = len(w.sum.DBs)
		w.dbs[int(n)] = at
		w.sum.DBs = append(w.sum.DBs, DBCount{DB: int(n)})
	}
	w.db = &w.sum.DBs[at]
	return nil
}

// aux keeps an auxiliary field. One too long to be any server's is passed over, so
// that compressed ones cannot take memory.
func (w *Walker) aux(b []byte) error {
	var field [2]string
	for k, i := 0, 0; k < 2; k++ {
		h, end, err := stringAt(b, i)
		if err != nil {
			return err
		}
		if h.raw > maxAuxText {
			return nil
		}
		s, _, err := text(b[i:end], h, nil, maxAuxText)
		if err != nil {
			return shift(err, i)
		}
		field[k] = string(s[:min(len(s), maxAuxValue)])
		i = end
	}
	if len(w.sum.Aux) < maxAux {
		w.sum.Aux[field[0]] = field[1]
	}
	return nil
}

// checkModuleAux refuses module data whose moment of saving is not where it must be.
func checkModuleAux(b []byte) error {
	_, n, _ := readLen(b)
	if code, _, _ := readLen(b[n:]); code != moduleUnsigned {
		return damaged(n, "module auxiliary data with mark %d", code)
	}
	return nil
}

// template remembers how many fields a hash template has (Redis 8.10, from documents).
func (w *Walker) template(b []byte) error {
	id, n, _ := readLen(b)
	fields, _, _ := readLen(b[n:])
	if len(w.m.templates) >= maxTemplates {
		return unsupported(0, "more than %d hash templates", maxTemplates)
	}
	w.m.templates[id] = fields
	return nil
}
