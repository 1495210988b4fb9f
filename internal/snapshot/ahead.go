package snapshot

import "io"

// How far Copy reads: few buffers, each long enough that handing it over costs nothing.
const (
	aheadBytes   = 256 << 10
	aheadBuffers = 3
)

// Copy is io.Copy for a reader whose bytes take work, such as one that unpacks and proves
// them: that goes on while what it yielded is written. When it returns nothing reads any
// more.
func Copy(w io.Writer, r io.Reader) (written int64, err error) {
	full, free := make(chan []byte, aheadBuffers), make(chan []byte, aheadBuffers)
	for range aheadBuffers {
		free <- make([]byte, aheadBytes)
	}
	var failed error // of reading; it may be looked at once full is closed
	go func() {
		defer close(full)
		for b := range free {
			n, err := 0, error(nil)
			for n < len(b) && err == nil { // not io.ReadFull: an EOF that is unexpected is a fault
				var m int
				m, err = r.Read(b[n:])
				n += m
			}
			full <- b[:n]
			if err != nil {
				if err != io.EOF {
					failed = err
				}
				return
			}
		}
	}()
	for b := range full {
		if err == nil {
			var n int
			n, err = w.Write(b)
			if written += int64(n); err != nil {
				close(free)
			}
		}
		if err == nil {
			free <- b[:aheadBytes]
		}
	}
	if err == nil {
		err = failed
	}
	return written, err
}
