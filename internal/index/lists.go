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

// lists notes where they lie.
func (w *JobsWriter) lists(all []ListAt) error {
	if len(all) == 0 || len(all) >= maxLists {
		return nil
	}
	slices.SortFunc(all, func(x, y ListAt) int { return cmp.Compare(x.Offset, y.Offset) })
	b, err := json.Marshal(all)
	if err != nil {
		return err
	}
	w.w.Note(listsKey, string(b))
	return nil
}

// List returns where the list of a queue lies in the dump; ErrWhole if the file does not
// say.
func (p *Part) List(db int32, queue string) (ListAt, error) {
	text, ok := p.file.Lookup(listsKey)
	if !ok {
		return ListAt{}, ErrWhole
	}
	var all []ListAt
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		return ListAt{}, fmt.Errorf("%w: its footer says nothing readable of lists", ErrDamaged)
	}
	for _, l := range all {
		if l.DB == db && bytes.Equal(l.Queue, []byte(queue)) {
			return l, nil
		}
	}
	return ListAt{}, ErrWhole
}
