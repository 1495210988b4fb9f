package live

import (
	"context"
	"iter"
)

// How far a sequence of keys is read ahead: the server works on the next pipeline while
// the caller works on the last, and a few large values are held at most.
const (
	aheadKeys  = 512
	aheadBytes = 8 << 20
)

// ahead yields what read does, in its order, and reads on while the caller works. The
// context that read is given ends when the caller leaves, and read has returned by then.
func ahead(ctx context.Context, read func(context.Context) iter.Seq2[Dumped, error]) iter.Seq2[Dumped, error] {
	type item struct {
		d   Dumped
		err error
	}
	return func(yield func(Dumped, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		chunks, left := make(chan []item), make(chan struct{})
		defer func() {
			close(left)
			cancel()
			for range chunks { // until the reader has ended
			}
		}()
		go func() {
			defer close(chunks)
			var chunk []item
			bytes := 0
			hand := func() bool {
				select {
				case chunks <- chunk:
					chunk, bytes = nil, 0
					return true
				case <-left:
					return false
				}
			}
			for d, err := range read(ctx) {
				chunk = append(chunk, item{d, err})
				if bytes += len(d.Payload); (len(chunk) == aheadKeys || bytes >= aheadBytes) && !hand() {
					return
				}
			}
			hand()
		}()
		for chunk := range chunks {
			for _, it := range chunk {
				if !yield(it.d, it.err) {
					return
				}
			}
		}
	}
}
