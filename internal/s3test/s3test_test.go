package s3test_test

import (
	"os"
	"strings"
	"testing"

	"rqvault/internal/s3test"
	"rqvault/internal/store/s3"
	"rqvault/internal/store/storetest"
)

func TestServer(t *testing.T) {
	for name, start := range map[string]func(testing.TB) *s3test.Server{"http": s3test.Start, "https": s3test.StartTLS} {
		t.Run(name, func(t *testing.T) {
			server := start(t)
			if !strings.HasPrefix(server.Endpoint, name+"://") {
				t.Errorf("endpoint: got %s, want %s", server.Endpoint, name)
			}
			storetest.Put(t, server.Store(t, "p"), "dir/k", []byte("x"))
			if got, err := os.ReadFile(server.File("p/dir/k")); err != nil || string(got) != "x" {
				t.Errorf("the object's file: got %q and error %v", got, err)
			}
			server.Kill()
			server.Restart(t)

			server.Setenv(t)
			o, err := s3.ParseURL(server.URL("p"))
			if err != nil {
				t.Fatal(err)
			}
			s, err := s3.Open(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := storetest.Get(t.Context(), s, "dir/k", 0, -1); err != nil || string(got) != "x" {
				t.Errorf("after a restart: got %q and error %v", got, err)
			}
			if a, b := server.NewBucket(t), server.NewBucket(t); a == b {
				t.Errorf("two buckets are both called %s", a)
			}
		})
	}
}
