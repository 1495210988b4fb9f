package verify

import (
	"iter"
	"slices"
)

// pieceSize is how many findings one piece holds.
const pieceSize = 4096

// pieces are findings in order. They can be millions, so they are never moved as a whole.
type pieces [][]Finding

func (p *pieces) add(f Finding) {
	n := len(*p)
	if n == 0 || len((*p)[n-1]) == pieceSize {
		*p, n = append(*p, nil), n+1
	}
	last := &(*p)[n-1]
	if n > 1 && *last == nil {
		*last = make([]Finding, 0, pieceSize)
	}
	*last = append(*last, f)
}

// all yields each of them, to be changed in place.
func (p pieces) all() iter.Seq[*Finding] {
	return func(yield func(*Finding) bool) {
		for _, piece := range p {
			for i := range piece {
				if !yield(&piece[i]) {
					return
				}
			}
		}
	}
}

// remove takes out those that are to go.
func (p pieces) remove(goes func(Finding) bool) {
	for i := range p {
		p[i] = slices.DeleteFunc(p[i], goes)
	}
}
