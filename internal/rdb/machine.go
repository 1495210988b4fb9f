package rdb

import "fmt"

// machine passes over one value or payload by running a program on bytes that may
// still be arriving. It never looks back and never needs more than longestPrimitive
// bytes in one piece, so a value of any size is passed with whatever buffer there is.
type machine struct {
	prog  []op
	pc    int
	loops [4]loop
	depth int
	left  uint64 // strings left in a run of strings
	inRun bool   // pc is at a run of strings whose length has been read
	skip  uint64 // bytes left of the string or number being passed
	size  uint64 // of the string being passed, for messages
	cut   int    // index after the last whole element; below the value's start if there is none
	stop  bool   // return at the next element boundary

	templates map[uint64]uint64 // fields per hash template, filled by the walker
}

type loop struct {
	start int // pc of the body
	left  uint64
}

// start makes the machine ready to run prog from its beginning.
func (m *machine) start(prog []op) {
	m.prog, m.pc, m.depth, m.inRun, m.skip, m.stop, m.cut = prog, 0, 0, false, 0, false, -1
}

// run goes on at b[i] and returns how far it came: okay at the program's end,
// needMore when b ended first, boundary when stop was set and an element ended.
// An *Error has its offset relative to b.
func (m *machine) run(b []byte, i int) (int, state, error) {
	for {
		if m.skip > 0 {
			if have := uint64(len(b) - i); m.skip > have {
				m.skip -= have
				return len(b), needMore, nil
			}
			i += int(m.skip)
			m.skip = 0
		}
		var st state
		var err error
		switch o := m.prog[m.pc]; o {
		case opEnd:
			return i, okay, nil
		case opStr:
			i, st, err = m.str(b, i)
		case opStrs, opPairs, opTemplateFields:
			i, st, err = m.strings(b, i)
		case opLoop, opArray:
			i, st, err = m.enter(b, i)
		case opNext:
			st = m.next(i)
		case opLen, opContainer:
			i, st, err = m.length(b, i)
		case opModule:
			i, st, err = m.module(b, i)
		case opTagged:
			i, st, err = m.tagged(b, i)
		case opScore:
			i, st = m.score(b, i)
		default:
			m.skip = fixedSize[o]
			m.pc++
		}
		if st != okay || err != nil {
			return i, st, err
		}
	}
}

var fixedSize = [...]uint64{op1: 1, op4: 4, op8: 8, op16: 16}

// str takes a string's head and leaves its body to skip.
func (m *machine) str(b []byte, i int) (int, state, error) {
	h, st := readHead(b[i:])
	switch st {
	case needMore:
		return i, needMore, nil
	case nonsense:
		return i, st, m.badString(b, i)
	}
	m.pc++
	m.skip, m.size = h.body, h.body
	return i + h.size, okay, nil
}

// strings passes over a run of strings, the shape of most data there is; the loop
// stays free of calls for strings whose length takes one or two bytes.
func (m *machine) strings(b []byte, i int) (int, state, error) {
	mask := uint64(0)
	if m.prog[m.pc] == opPairs {
		mask = 1
	}
	if !m.inRun {
		var st state
		var err error
		if i, st, err = m.startRun(b, i, mask); st != okay || err != nil {
			return i, st, err
		}
	}
	left, plain := m.left, m.prog[m.pc] != opTemplateFields
	for {
		if left&mask == 0 && plain {
			m.cut = i
			if m.stop && (left > 0 || m.prog[m.pc+1] != opEnd) {
				m.left = left
				return i, boundary, nil
			}
		}
		if left == 0 {
			m.inRun = false
			m.pc++
			return i, okay, nil
		}
		var end int
		if i+1 < len(b) && b[i] < 0x40 {
			end = i + 1 + int(b[i])
		} else if i+1 < len(b) && b[i] < 0x80 {
			end = i + 2 + (int(b[i]&0x3f)<<8 | int(b[i+1]))
		} else {
			h, st := readHead(b[i:])
			if st != okay {
				m.left = left
				if st == nonsense {
					return i, st, m.badString(b, i)
				}
				return i, st, nil
			}
			end = i + h.size + int(h.body)
		}
		left--
		if end > len(b) {
			m.left, m.skip, m.size = left, uint64(end-len(b)), uint64(end-i)
			return len(b), needMore, nil
		}
		i = end
	}
}

// startRun reads how many strings a run has.
func (m *machine) startRun(b []byte, i int, mask uint64) (int, state, error) {
	n, size, st := readLen(b[i:])
	if st == needMore {
		return i, st, nil
	}
	if m.prog[m.pc] == opTemplateFields && st == okay {
		fields, known := m.templates[n]
		if !known {
			return i, nonsense, damaged(i, "hash of template %d, which the dump has not defined", n)
		}
		n = fields
	}
	if st == nonsense || n > maxString {
		return i, nonsense, m.badLength(b, i, n)
	}
	m.left, m.inRun = n<<mask, true
	return i + size, okay, nil
}

// enter reads a loop's length and goes to its body, or past it if there is nothing.
func (m *machine) enter(b []byte, i int) (int, state, error) {
	n, size, st := readLen(b[i:])
	if st == okay && m.prog[m.pc] == opArray {
		var flag uint64
		var more int
		flag, more, st = readLen(b[i+size:])
		size += more
		if st == okay && flag == 1 {
			_, more, st = readLen(b[i+size:])
			size += more
		}
	}
	switch {
	case st == needMore:
		return i, st, nil
	case st == nonsense || n > maxString:
		return i, nonsense, m.badLength(b, i, n)
	}
	if m.depth == 0 {
		m.cut = i + size
	}
	m.pc++
	if n > 0 {
		m.loops[m.depth] = loop{m.pc, n}
		m.depth++
		return i + size, okay, nil
	}
	for inner := 1; inner > 0; m.pc++ {
		switch m.prog[m.pc] {
		case opLoop, opArray:
			inner++
		case opNext:
			inner--
		}
	}
	return i + size, okay, nil
}

// next ends one round of the innermost loop.
func (m *machine) next(i int) state {
	l := &m.loops[m.depth-1]
	l.left--
	if l.left > 0 {
		m.pc = l.start
	} else {
		m.pc++
		m.depth--
	}
	if m.depth == 0 || m.depth == 1 && l.left > 0 {
		m.cut = i
		if m.stop && m.prog[m.pc] != opEnd {
			return boundary
		}
	}
	return okay
}

// length passes over a length, which must name a container where one is due.
func (m *machine) length(b []byte, i int) (int, state, error) {
	n, size, st := readLen(b[i:])
	switch {
	case st == needMore:
		return i, st, nil
	case st == nonsense:
		return i, st, m.badLength(b, i, n)
	case m.prog[m.pc] == opContainer && n != quicklistPlain && n != quicklistPacked:
		return i, nonsense, damaged(i, "quicklist node in container %d", n)
	}
	m.pc++
	return i + size, okay, nil
}

// module passes over one annotated value of a module, or the mark that ends them.
func (m *machine) module(b []byte, i int) (int, state, error) {
	code, size, st := readLen(b[i:])
	if st == okay {
		switch code {
		case moduleEnd:
			m.pc++
		case moduleSigned, moduleUnsigned:
			var more int
			_, more, st = readLen(b[i+size:])
			size += more
		case moduleFloat:
			m.skip = 4
		case moduleDouble:
			m.skip = 8
		case moduleString:
			var h stringHead
			h, st = readHead(b[i+size:])
			if size += h.size; st == okay {
				m.skip, m.size = h.body, h.body
			}
		default:
			st = nonsense
		}
	}
	switch st {
	case needMore:
		return i, st, nil
	case nonsense:
		return i, st, damaged(i, "module value with mark %#x", b[i])
	}
	return i + size, okay, nil
}

// tagged passes over the tag and value of an array's element (Redis 8.8, from documents).
func (m *machine) tagged(b []byte, i int) (int, state, error) {
	tag, size, st := readLen(b[i:])
	if st == okay {
		switch tag {
		case 0, 3:
			var h stringHead
			h, st = readHead(b[i+size:])
			if size += h.size; st == okay {
				m.skip, m.size = h.body, h.body
			}
		case 2:
			m.skip = 8
		default:
			return i, nonsense, unsupported(i, "array element with tag %d", tag)
		}
	}
	switch st {
	case needMore:
		return i, st, nil
	case nonsense:
		return i, st, m.badString(b, i)
	}
	m.pc++
	return i + size, okay, nil
}

// score passes over a score written as text.
func (m *machine) score(b []byte, i int) (int, state) {
	if i >= len(b) {
		return i, needMore
	}
	if b[i] < 253 {
		m.skip, m.size = uint64(b[i]), uint64(b[i])
	}
	m.pc++
	return i + 1, okay
}

// badString says what is wrong with the string head at b[i].
func (m *machine) badString(b []byte, i int) error {
	if n, _, st := readLen(b[i:]); st == okay {
		return damaged(i, "string of %d bytes", n)
	}
	if b[i] == 0xC3 {
		return damaged(i, "compressed string with impossible lengths")
	}
	return damaged(i, "string that begins with %#02x", b[i])
}

// badLength says what is wrong with the length at b[i].
func (m *machine) badLength(b []byte, i int, n uint64) error {
	if n > 0 {
		return damaged(i, "count of %d elements", n)
	}
	return damaged(i, "length that begins with %#02x", b[i])
}

// missing says inside what the bytes ended.
func (m *machine) missing() string {
	if m.skip > 0 {
		return fmt.Sprintf("the last %d bytes of a string or number are missing", m.skip)
	}
	return "a length is missing or cut"
}
