// Package s3test runs real S3 servers for tests: versitygw, one process per call, on
// a free port, over a temporary directory whose plain files a test may inspect or
// damage. Buckets are directories, objects are files.
//
// The program comes from RQVAULT_VERSITYGW, else from .bin/versitygw in the
// repository's root, else it is built there from the module in tools/, which takes a
// few minutes once. If that fails the test fails: tests never skip.
//
// versitygw does not flush to disk and cannot encrypt, so it proves nothing about
// either.
package s3test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rqvault/internal/child"
	"rqvault/internal/store/s3"
)

const (
	accessKey   = "test"
	secretKey   = "testsecret"
	readyTime   = 30 * time.Second // for a server to answer; it takes well under a second
	readyPoll   = 5 * time.Millisecond
	startTries  = 5 // ports that somebody else took between choosing and listening
	firstBucket = "rqvault-test"
	stopTime    = 10 * time.Second
	outputShown = 4 << 10 // bytes of a broken server's output in the test's failure
	bucketMode  = 0o755
)

// Server is a running S3 server with one bucket.
type Server struct {
	Endpoint string // such as http://127.0.0.1:41234
	Address  string // host:port of it
	Bucket   string // exists and is empty
	Data     string // directory of all buckets: <Data>/<bucket>/<key>
	CAFile   string // PEM file with the certificate, "" without TLS

	bin     string
	dir     string
	keyFile string
	health  string
	proc    *child.Process
}

// Start runs a server over plain http until the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	return start(t, false)
}

// StartTLS runs a server over https with a certificate of its own, which Setenv and
// Env make clients trust. Clients send other bodies over https than over http.
func StartTLS(t testing.TB) *Server {
	t.Helper()
	return start(t, true)
}

func start(t testing.TB, tls bool) *Server {
	t.Helper()
	dir := t.TempDir()
	s := &Server{
		Bucket: firstBucket,
		Data:   filepath.Join(dir, "data"),
		bin:    binary(t),
		dir:    dir,
		// A path nobody guesses: another server on our port cannot pass for ours.
		health: "/ready-" + randomWord(),
	}
	for _, d := range []string{s.Data, filepath.Join(dir, "versions")} {
		if err := os.Mkdir(d, bucketMode); err != nil {
			t.Fatal(err)
		}
	}
	s.makeBucket(t, s.Bucket)
	scheme := "http://"
	if tls {
		scheme = "https://"
		s.CAFile, s.keyFile = writeCertificate(t, dir)
	}
	var err error
	for range startTries {
		if s.Address, err = freeAddress(); err != nil {
			t.Fatal(err)
		}
		s.Endpoint = scheme + s.Address
		if err = s.run(); err == nil {
			break
		}
	}
	if err != nil {
		t.Fatalf("start versitygw: %v", err)
	}
	t.Cleanup(s.stop)
	return s
}

// run starts the program on the server's address and waits until it answers.
func (s *Server) run() error {
	args := []string{"--port", s.Address, "--quiet", "--health", s.health,
		"--access", accessKey, "--secret", secretKey}
	if s.CAFile != "" {
		args = append(args, "--cert", s.CAFile, "--key", s.keyFile)
	}
	args = append(args, "posix", "--versioning-dir", filepath.Join(s.dir, "versions"), s.Data)

	out, err := os.Create(filepath.Join(s.dir, "output"))
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := exec.Command(s.bin, args...)
	cmd.Dir = s.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")} // not the VGW_… of whoever runs the tests
	cmd.Stdout, cmd.Stderr = out, out
	if s.proc, err = child.Start(cmd, false); err != nil {
		return err
	}
	if err := s.awaitReady(); err != nil {
		s.Kill()
		said, _ := os.ReadFile(out.Name())
		return fmt.Errorf("%w; it said: %s", err, said[:min(len(said), outputShown)])
	}
	return nil
}

// awaitReady polls the health path until the server answers there.
func (s *Server) awaitReady() error {
	client, err := s.httpClient()
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(context.Background(), readyTime)
	defer cancel()
	tick := time.NewTicker(readyPoll)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Endpoint+s.health, nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-s.proc.Done():
			return errors.New("it ended at once")
		case <-ctx.Done():
			return errors.New("it does not get ready")
		case <-tick.C:
		}
	}
}

// Kill ends the server at once, as a crash would. Its data stay.
func (s *Server) Kill() { s.proc.Kill() }

// Restart starts a killed server again on the same address and data.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.Kill()
	if err := s.run(); err != nil {
		t.Fatalf("restart versitygw: %v", err)
	}
}

func (s *Server) stop() { s.proc.End(os.Interrupt, stopTime) }

// NewBucket makes another empty bucket and returns its name.
func (s *Server) NewBucket(t testing.TB) string {
	t.Helper()
	name := "bucket-" + randomWord()
	s.makeBucket(t, name)
	return name
}

func (s *Server) makeBucket(t testing.TB, name string) {
	t.Helper()
	if err := os.Mkdir(filepath.Join(s.Data, name), bucketMode); err != nil {
		t.Fatal(err)
	}
}

// File returns the path of the file that holds an object of the first bucket.
func (s *Server) File(key string) string {
	return filepath.Join(s.Data, s.Bucket, filepath.FromSlash(key))
}

// URL returns the address of a store with that prefix in the first bucket.
func (s *Server) URL(prefix string) string {
	return "s3://" + s.Bucket + "/" + prefix + "?endpoint=" + url.QueryEscape(s.Endpoint)
}

// Env returns the variables, as name=value, that let a program use the server, and
// nothing else of the AWS settings of whoever runs the tests.
func (s *Server) Env() []string {
	env := []string{
		"AWS_ENDPOINT_URL_S3=" + s.Endpoint,
		"AWS_ACCESS_KEY_ID=" + accessKey,
		"AWS_SECRET_ACCESS_KEY=" + secretKey,
		"AWS_SESSION_TOKEN=",
		"AWS_REGION=us-east-1",
		"AWS_PROFILE=",
		"AWS_CONFIG_FILE=" + os.DevNull,
		"AWS_SHARED_CREDENTIALS_FILE=" + os.DevNull,
		"AWS_EC2_METADATA_DISABLED=true",
	}
	if s.CAFile != "" {
		env = append(env, "AWS_CA_BUNDLE="+s.CAFile)
	}
	return env
}

// Setenv applies Env to this process until the test ends.
func (s *Server) Setenv(t testing.TB) {
	t.Helper()
	for _, pair := range s.Env() {
		name, value, _ := strings.Cut(pair, "=")
		t.Setenv(name, value)
	}
}

// Store opens the first bucket with that prefix. It sets the environment, so the
// test cannot be parallel. The change, if any, is applied to the options first.
func (s *Server) Store(t testing.TB, prefix string, change ...func(*s3.Options)) *s3.Store {
	t.Helper()
	s.Setenv(t)
	o := s3.Options{
		Bucket: s.Bucket, Prefix: prefix, Endpoint: s.Endpoint,
		MaxBackoff: 50 * time.Millisecond, // the server is near
	}
	for _, f := range change {
		f(&o)
	}
	store, err := s3.Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// freeAddress returns a local address on which nothing listens just now.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func randomWord() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
