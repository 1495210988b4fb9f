package snapshot_test

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"rqvault/internal/snapshot"
)

var errDisk = errors.New("disk full")

// narrow takes so many bytes, and no more.
type narrow struct {
	bytes.Buffer
	room int
}

func (w *narrow) Write(p []byte) (int, error) {
	if len(p) > w.room {
		n, _ := w.Buffer.Write(p[:w.room])
		w.room = 0
		return n, errDisk
	}
	w.room -= len(p)
	return w.Buffer.Write(p)
}

func TestCopyReadsAhead(t *testing.T) {
	const piece = 256 << 10
	for _, n := range []int{0, 1, piece - 1, piece, piece + 1, 3 * piece, 9*piece + 17} {
		want := bytes.Repeat([]byte("0123456789abcdef7"), n/17+1)[:n]
		var got bytes.Buffer
		if written, err := snapshot.Copy(&got, iotest.OneByteReader(bytes.NewReader(want))); err != nil || written != int64(n) || !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%d bytes: %d written, %v", n, written, err)
		}
		// What the reader complains of comes after all that it yielded.
		got.Reset()
		for _, complaint := range []error{errDisk, io.ErrUnexpectedEOF} {
			got.Reset()
			written, err := snapshot.Copy(&got, io.MultiReader(bytes.NewReader(want), iotest.ErrReader(complaint)))
			if !errors.Is(err, complaint) || written != int64(n) || !bytes.Equal(got.Bytes(), want) {
				t.Errorf("%d bytes and %v: %d written, %v", n, complaint, written, err)
			}
		}
		for _, room := range []int{0, n / 2, n - 1} {
			if room < 0 || room >= n {
				continue
			}
			w := &narrow{room: room}
			if written, err := snapshot.Copy(w, bytes.NewReader(want)); !errors.Is(err, errDisk) || written != int64(room) || !bytes.Equal(w.Bytes(), want[:room]) {
				t.Errorf("%d bytes where there is room for %d: %d written, %v", n, room, written, err)
			}
		}
	}
}
