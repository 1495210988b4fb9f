package index

import "rqvault/internal/job"

// How far rows are merged ahead of being written, and how many of each go together.
const (
	writeRows    = 256
	writeBatches = 3
)

// rowBatch is some rows on their way from the merge to the file; they are used again.
type rowBatch struct {
	rows []job.Row
	n    int
}

// next returns the next row, empty but for the room in its lists.
func (r *rowBatch) next() *job.Row {
	row := &r.rows[r.n]
	*row = job.Row{Parents: row.Parents[:0], ParentSet: row.ParentSet[:0], ListedBy: row.ListedBy[:0],
		Places: row.Places[:0], Parts: row.Parts[:0]}
	return row
}

// WriteJobs writes the rows that Jobs yields. They are merged while earlier ones are written.
func (b *Builder) WriteJobs(w *JobsWriter) error {
	full, free, left := make(chan *rowBatch, writeBatches), make(chan *rowBatch, writeBatches), make(chan struct{})
	for range writeBatches {
		free <- &rowBatch{rows: make([]job.Row, writeRows)}
	}
	var merging error // read when full is closed
	go func() {
		defer close(full)
		merging = b.fillBatches(full, free, left)
	}()
	var failed error
	for batch := range full {
		for i := range batch.rows[:batch.n] {
			if failed != nil {
				break
			}
			if failed = w.Write(&batch.rows[i]); failed != nil {
				close(left)
			}
		}
		batch.n = 0
		free <- batch
	}
	if failed != nil {
		return failed
	}
	if merging != nil {
		return merging
	}
	return w.lists(b.Lists())
}

// fillBatches merges all rows, until the last or until somebody left.
func (b *Builder) fillBatches(full chan<- *rowBatch, free <-chan *rowBatch, left <-chan struct{}) error {
	var failed error
	cur := <-free
	b.rows(func() *job.Row { return cur.next() }, func(_ *job.Row, err error) bool {
		if failed = err; err != nil {
			return false
		}
		if cur.n++; cur.n < len(cur.rows) {
			return true
		}
		full <- cur
		select {
		case cur = <-free:
			return true
		case <-left:
			cur = &rowBatch{}
			return false
		}
	})
	if cur.n > 0 {
		full <- cur
	}
	return failed
}
