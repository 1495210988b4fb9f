package index_test

import (
	"errors"
	"iter"
	"slices"
	"testing"

	"rqvault/internal/index"
)

// numbers yields 0 to n-1, then the error if there is one, and notes how it ended.
func numbers(n int, err error, ended *int) iter.Seq2[int, error] {
	return func(yield func(int, error) bool) {
		defer func() { *ended++ }()
		for i := range n {
			if !yield(i, nil) {
				return
			}
		}
		if err != nil {
			yield(0, err)
		}
	}
}

func TestAheadYieldsAllInOrder(t *testing.T) {
	broken := errors.New("disk gone")
	for _, n := range []int{0, 1, 255, 256, 257, 512, 5000} {
		for _, want := range []error{nil, broken} {
			ended, got := 0, []int{}
			var err error
			for i, e := range index.Ahead(numbers(n, want, &ended)) {
				if err = e; e == nil {
					got = append(got, i)
				}
			}
			if len(got) != n || !slices.IsSorted(got) || !errors.Is(err, want) || ended != 1 {
				t.Errorf("%d rows, then %v: got %d, then %v; the reader ended %d times", n, want, len(got), err, ended)
			}
		}
	}
}

// Who leaves early may close the file at once.
func TestAheadStopsReadingWhenItIsLeft(t *testing.T) {
	for _, after := range []int{0, 1, 255, 256, 700} {
		ended := 0
		for i := range index.Ahead(numbers(100_000, nil, &ended)) {
			if i == after {
				break
			}
		}
		if ended != 1 {
			t.Errorf("left after %d rows: the reader ended %d times", after, ended)
		}
	}
}

// What was begun is read before anybody asks for it, and no more once it was stopped.
func TestBegunRowsAreReadAtOnce(t *testing.T) {
	for _, take := range []int{0, 1, 5000} {
		opened, ended, got := make(chan bool), 0, 0
		rows, stop := index.Begin(func() iter.Seq2[int, error] {
			close(opened)
			return numbers(5000, nil, &ended)
		})
		<-opened
		if take > 0 {
			for i, err := range rows {
				if err != nil || i != got {
					t.Fatalf("got %d, %v at %d", i, err, got)
				}
				if got++; got == take {
					break
				}
			}
		}
		if stop(); got != take || ended != 1 {
			t.Errorf("got %d rows of %d; the reader ended %d times", got, take, ended)
		}
	}
}
