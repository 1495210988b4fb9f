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
	type chunk struct {
		rows []T
		err  error
	}
	return func(yield func(T, error) bool) {
		chunks, left := make(chan chunk, aheadChunks), make(chan struct{})
		defer func() {
			close(left)
			for range chunks { // until the reader has ended
			}
		}()
		go func() {
			defer close(chunks)
			var c chunk
			hand := func() bool {
				select {
				case chunks <- c:
					c = chunk{}
					return true
				case <-left:
					return false
				}
			}
			for row, err := range rows {
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
}
