package extsort_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"rqvault/internal/extsort"
)

func fill(t *testing.T, s *extsort.Sorter, n int) []string {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	var want []string
	for i := range n {
		key := fmt.Sprintf("%0*d", 1+r.IntN(30), r.IntN(1<<30))
		want = append(want, key)
		if err := s.Add([]byte(key), fmt.Appendf(nil, "%s/%d", key, i)); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(want)
	return want
}

func TestSortsInMemoryAndOnDisk(t *testing.T) {
	for _, memory := range []int{1 << 26, 1 << 16} {
		t.Run(fmt.Sprint(memory), func(t *testing.T) {
			dir := t.TempDir()
			s := extsort.New(dir, memory)
			want := fill(t, s, 20000)
			var got []string
			for p, err := range s.All() {
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.HasPrefix(p.Value, append(slices.Clone(p.Key), '/')) {
					t.Fatalf("value %q under key %q", p.Value, p.Key)
				}
				got = append(got, string(p.Key))
			}
			if !slices.Equal(got, want) {
				t.Fatalf("got %d keys out of order or lost, want %d", len(got), len(want))
			}
			again := 0
			for p, err := range s.All() {
				if err != nil || string(p.Key) != want[again] {
					t.Fatalf("second time: got %q, %v at %d, want %q", p.Key, err, again, want[again])
				}
				again++
			}
			if again != len(want) {
				t.Fatalf("second time: got %d keys, want %d", again, len(want))
			}
			if left, _ := os.ReadDir(dir); len(left) != 0 {
				t.Errorf("%d files left in the spill directory while running", len(left))
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			for _, err := range s.All() {
				if err == nil {
					t.Fatal("got a pair after Close")
				}
			}
		})
	}
}

func TestStopsEarlyAndReportsMissingDirectory(t *testing.T) {
	s := extsort.New("", 1<<16)
	defer s.Close()
	fill(t, s, 5000)
	n := 0
	for range s.All() {
		if n++; n == 3 {
			break
		}
	}
	if n != 3 {
		t.Fatalf("yielded %d pairs after break at 3", n)
	}
	bad := extsort.New(t.TempDir()+"/missing", 1<<16)
	defer bad.Close()
	var err error
	for i := 0; i < 10000 && err == nil; i++ {
		err = bad.Add(fmt.Appendf(nil, "%d", i), make([]byte, 40))
	}
	if err == nil {
		t.Fatal("spilling into a missing directory gave no error")
	}
}
