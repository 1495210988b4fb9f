package index

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
)

// ListAt is where the list of a queue's ids lies in the dump, so that the order of its jobs
// can be read without the rows of all of them.
type ListAt struct {
	DB     int32  `json:"db"`
	Queue  []byte `json:"queue"`
	Type   int32  `json:"type"` // RDB type byte
	Offset int64  `json:"offset"`
	Length int64  `json:"length"` // bytes of the raw value
}

// listsKey is the key under which the footer of jobs.parquet has the lists, in JSON.
const listsKey = "rqvault.lists"

// maxLists bounds how many lists are noted. Where there are more, none is.
const maxLists = 1000

// noteList notes where the list that was just read lies.
func (b *Builder) noteList(typ byte) {
	if c := &b.cur; len(b.lists) <= maxLists {
		b.lists = append(b.lists, ListAt{DB: int32(c.db), Queue: []byte(c.queue), Type: int32(typ), Offset: c.offset, Length: c.length})
	}
}

// Lists returns the queues' lists in the order of the dump; none if there are very many.
func (b *Builder) Lists() []ListAt {
	if len(b.lists) > maxLists {
		return nil
	}
	slices.SortFunc(b.lists, func(x, y ListAt) int { return cmp.Compare(x.Offset, y.Offset) })
	return b.lists
}

// lists has the file say where they lie.
func (w *JobsWriter) lists(all []ListAt) error {
	if len(all) == 0 {
		return nil
	}
	b, err := json.Marshal(all)
	if err != nil {
		return err
	}
	w.w.Note(listsKey, string(b))
	return nil
}

// Lists returns what the file says of queues' lists.
func (p *Part) Lists() (all []ListAt, err error) {
	text, ok := p.file.Lookup(listsKey)
	if !ok {
		return nil, nil
	}
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		return nil, fmt.Errorf("%w: its footer says nothing readable of lists", ErrDamaged)
	}
	return all, nil
}

// List returns where the list of a queue lies in the dump; ErrWhole if the file does not
// say.
func (p *Part) List(db int32, queue string) (ListAt, error) {
	all, err := p.Lists()
	if err != nil {
		return ListAt{}, err
	}
	for _, l := range all {
		if l.DB == db && bytes.Equal(l.Queue, []byte(queue)) {
			return l, nil
		}
	}
	return ListAt{}, ErrWhole
}
