package s3_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"rqvault/internal/s3test"
	"rqvault/internal/snapshot"
	"rqvault/internal/store/s3"
	"rqvault/internal/store/storetest"
)

func overwrite(t *testing.T, path string, data []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestParseURL(t *testing.T) {
	got, err := s3.ParseURL("s3://bucket/some/prefix/?endpoint=https%3A%2F%2Fs3.example.net%3A9000&region=eu-1" +
		"&path_style=false&checksum=off&part_size=32MiB&concurrency=4&idle_timeout=90s")
	if err != nil {
		t.Fatal(err)
	}
	if got.PathStyle == nil || *got.PathStyle {
		t.Errorf("path style: got %v, want false", got.PathStyle)
	}
	got.PathStyle = nil
	want := s3.Options{
		Bucket: "bucket", Prefix: "some/prefix", Endpoint: "https://s3.example.net:9000", Region: "eu-1",
		Checksum: s3.ChecksumOff, PartSize: 32 * mib, Concurrency: 4, IdleTimeout: 90 * time.Second,
	}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got, err := s3.ParseURL("s3://bucket"); err != nil || got != (s3.Options{Bucket: "bucket"}) {
		t.Errorf("bare bucket: got %+v and error %v", got, err)
	}
	for _, bad := range []string{
		"", "bucket/prefix", "http://bucket", "s3:bucket", "s3://", "s3:///prefix", "s3://b", "s3://bucket/a//b",
		"s3://bucket/../x", "s3://bucket/#x", "s3://bucket?unknown=1", "s3://bucket?region=", "s3://bucket?region=a&region=b",
		"s3://bucket?endpoint=ftp://x", "s3://bucket?endpoint=localhost:9000", "s3://bucket?path_style=perhaps",
		"s3://bucket?checksum=md5", "s3://bucket?part_size=1MiB", "s3://bucket?part_size=6GiB", "s3://bucket?part_size=x",
		"s3://bucket?part_size=99999999999GiB", "s3://bucket?concurrency=0x", "s3://bucket?concurrency=-1",
		"s3://bucket?concurrency=65", "s3://bucket?idle_timeout=60", "s3://bucket?idle_timeout=-1s", "s3://bucket?a=%zz",
	} {
		if o, err := s3.ParseURL(bad); err == nil {
			t.Errorf("%q: got %+v, want an error", bad, o)
		}
	}
	_, err = s3.ParseURL("s3://bucket?regoin=eu-1")
	for _, name := range []string{"regoin", "checksum", "concurrency", "endpoint", "part_size", "path_style", "region"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("unknown parameter: the error %v does not name %s", err, name)
		}
	}
}

func TestErrorsHoldNoSecret(t *testing.T) {
	for _, raw := range []string{
		"s3://key:hunter2@bucket", "s3://bucket?endpoint=http://key:hunter2@host", "s3://key:hunter2@bucket/%zz",
		"s3://bucket?endpoint=http://host/?token=hunter2", "s3://bucket?x=hunter2",
	} {
		if _, err := s3.ParseURL(raw); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got error %v, want one without the secret", raw, err)
		}
	}
}

func TestErrorsByKind(t *testing.T) {
	server := s3test.Start(t)
	missing := server.Store(t, "", func(o *s3.Options) { o.Bucket = "no-such-bucket" })
	calls(t, missing, "missing bucket", snapshot.ErrNoStore, "s3://no-such-bucket/")

	server.Setenv(t)
	t.Setenv("AWS_SECRET_ACCESS_KEY", "wrong-hunter2")
	denied, err := s3.Open(t.Context(), s3.Options{Bucket: server.Bucket}) // endpoint by the environment
	if err != nil {
		t.Fatal(err)
	}
	calls(t, denied, "wrong secret", snapshot.ErrDenied, "s3://"+server.Bucket+"/")
}

// calls makes each kind of request and compares the errors.
func calls(t *testing.T, s *s3.Store, what string, want error, place string) {
	t.Helper()
	ctx := t.Context()
	errs := map[string]error{"remove": s.Remove(ctx, "k")}
	errs["put"] = storetest.TryPut(ctx, s, "k", []byte("x"))
	errs["put parts"] = storetest.TryPut(ctx, s, "k", storetest.Bytes(17*mib))
	_, errs["open"] = s.Open(ctx, "k", 0, -1)
	_, errs["open range"] = s.Open(ctx, "k", 1, 5)
	_, errs["stat"] = s.Stat(ctx, "k")
	for _, err := range s.List(ctx, "", "") {
		errs["list"] = err
	}
	for _, err := range s.Abandoned(ctx) {
		errs["abandoned"] = err
	}
	for act, err := range errs {
		if !errors.Is(err, want) {
			t.Errorf("%s, %s: got error %v, want %v", what, act, err, want)
		}
		if err != nil && (!strings.Contains(err.Error(), place) || strings.Contains(err.Error(), "hunter2")) {
			t.Errorf("%s, %s: the error is %q, want it to name %s and no secret", what, act, err, place)
		}
	}
}

func TestOpenNeedsARegion(t *testing.T) {
	s3test.Start(t).Setenv(t)
	for _, name := range []string{"AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"} {
		t.Setenv(name, "")
	}
	if _, err := s3.Open(t.Context(), s3.Options{Bucket: "bucket"}); err == nil {
		t.Error("AWS itself without a region: want an error")
	}
	if _, err := s3.Open(t.Context(), s3.Options{Bucket: "bucket", Endpoint: "http://localhost:1"}); err != nil {
		t.Errorf("a custom endpoint without a region: %v", err)
	}
}

// Unknown endpoints and idle servers must not hold a backup for ever.
func TestRefusedEndpoint(t *testing.T) {
	s3test.Start(t).Setenv(t)
	s, err := s3.Open(t.Context(), s3.Options{
		Bucket: "bucket", Endpoint: "http://127.0.0.1:1", Attempts: 2, MaxBackoff: time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := storetest.TryPut(t.Context(), s, "k", []byte("x")); err == nil {
		t.Error("want an error")
	}
}

func TestListPages(t *testing.T) {
	server := s3test.Start(t)
	s := server.Store(t, "p")
	if err := os.MkdirAll(server.File("p/m"), 0o755); err != nil {
		t.Fatal(err)
	}
	var want []string
	for i := range 2305 {
		name := fmt.Sprintf("m/%05d", i)
		want = append(want, name)
		if err := os.WriteFile(server.File("p/"+name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, from := range []int{-1, 0, 1233, 2303} {
		after := ""
		if from >= 0 {
			after = want[from]
		}
		got := storetest.Keys(t, s.List(t.Context(), "m/", after))
		if strings.Join(got, " ") != strings.Join(want[from+1:], " ") {
			t.Errorf("after %q: got %d keys, want the last %d in order", after, len(got), len(want)-from-1)
		}
	}
}

func TestProbeConditional(t *testing.T) {
	server := s3test.Start(t)
	s := server.Store(t, "p")
	if err := s.ProbeConditional(t.Context()); err != nil {
		t.Fatal(err)
	}
	storetest.Empty(t, s)

	// A service that stores whatever comes.
	careless := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("ETag", `"x"`)
	}))
	defer careless.Close()
	s, err := s3.Open(t.Context(), s3.Options{Bucket: "bucket", Endpoint: careless.URL})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.ProbeConditional(t.Context()); !errors.Is(err, s3.ErrUnconditional) {
		t.Errorf("got error %v, want %v", err, s3.ErrUnconditional)
	}
}

// A service that answers a range with something else must not be believed.
func TestOddAnswers(t *testing.T) {
	s3test.Start(t).Setenv(t)
	for name, h := range map[string]http.HandlerFunc{
		"whole object for a range": func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "0123456789") },
		"another range": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Range", "bytes 0-4/10")
			w.WriteHeader(http.StatusPartialContent)
			_, _ = io.WriteString(w, "01234")
		},
		"less than the rest": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Range", "bytes 5-6/10")
			w.WriteHeader(http.StatusPartialContent)
			_, _ = io.WriteString(w, "56")
		},
	} {
		odd := httptest.NewServer(h)
		s, err := s3.Open(t.Context(), s3.Options{Bucket: "bucket", Endpoint: odd.URL})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := storetest.Get(t.Context(), s, "k", 5, -1); err == nil {
			t.Errorf("%s: got %q, want an error", name, got)
		}
		odd.Close()
	}
}

// The SDK writes notes to stderr unless told otherwise.
func TestNothingOnStderr(t *testing.T) {
	server := s3test.Start(t)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, logger := os.Stderr, log.Writer()
	os.Stderr = write
	log.SetOutput(write)
	func() {
		defer func() { os.Stderr = stderr; log.SetOutput(logger) }()
		p := newProxy(t, server, true, func(op string, n int, _ *http.Request) fault {
			if n%3 == 0 && op != "List" {
				return slowDown
			}
			return pass
		})
		s := p.store(t)
		for key, size := range map[string]int{"small": 10, "large": 2 * smallPart} {
			_ = storetest.TryPut(t.Context(), s, key, storetest.Bytes(size))
			_ = storetest.TryPut(t.Context(), s, key, storetest.Bytes(size))
			_, _ = storetest.Get(t.Context(), s, key, 0, -1)
			_, _ = storetest.Get(t.Context(), s, key, 1, 5)
			_, _ = storetest.Get(t.Context(), s, "missing", 0, -1)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_ = storetest.TryPut(ctx, s, "other", nil)
	}()
	if err := write.Close(); err != nil {
		t.Fatal(err)
	}
	said, err := io.ReadAll(read)
	if err != nil {
		t.Fatal(err)
	}
	if said = bytes.TrimSpace(said); len(said) != 0 {
		t.Errorf("stderr got: %s", said)
	}
}
