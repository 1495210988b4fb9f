package index

import "iter"

// How far Ahead reads: few chunks, each long enough that handing it over costs nothing.
const (
	aheadRows   = 256
	aheadChunks = 2
)

// Ahead yields what rows does, and reads on while the caller works. Rows must stay valid
// after later ones were read; an error is the last element. When the sequence is over, or
// was left, nothing reads any more.
func Ahead[T any](rows iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		begun, stop := Begin(func() iter.Seq2[T, error] { return rows })
		defer stop()
		begun(yield)
	}
}

// Begin is Ahead for a caller who comes for the rows later: they are opened and read at
// once, as far as Ahead reads. The sequence can be gone through once, until stop is called,
// which must be; then nothing reads any more.
func Begin[T any](rows func() iter.Seq2[T, error]) (begun iter.Seq2[T, error], stop func()) {
	chunks, left := make(chan aheadOf[T], aheadChunks), make(chan struct{})
	go func() {
		defer close(chunks)
		var c aheadOf[T]
		hand := func() bool {
			select {
			case chunks <- c:
				c = aheadOf[T]{}
				return true
			case <-left:
				return false
			}
		}
		for row, err := range rows() {
			if err != nil {
				c.err = err
				break
			}
			if c.rows == nil {
				c.rows = make([]T, 0, aheadRows)
			}
			if c.rows = append(c.rows, row); len(c.rows) == aheadRows && !hand() {
				return
			}
		}
		hand()
	}()
	begun = func(yield func(T, error) bool) {
		for c := range chunks {
			for _, row := range c.rows {
				if !yield(row, nil) {
					return
				}
			}
			if c.err != nil {
				var none T
				yield(none, c.err)
				return
			}
		}
	}
	return begun, func() {
		close(left)
		for range chunks { // until the reader has ended
		}
	}
}

// aheadOf is what is handed over at once.
type aheadOf[T any] struct {
	rows []T
	err  error
}
