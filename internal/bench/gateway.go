package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"time"
)

// gateway is an S3 service of the benchmark's own, versitygw over a directory, behind a
// proxy that counts what is read.
type gateway struct {
	cmd   *exec.Cmd
	front *httptest.Server
	read  atomic.Int64 // bytes of bodies
}

// Its one bucket, and the key to it.
const (
	bucket = "bench"
	access = "bench-access"
	secret = "bench-secret"
)

// startGateway runs the versitygw that the tests built, over a fresh directory.
func startGateway(dir string) (*gateway, error) {
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(dir, bucket), 0o755); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	address := l.Addr().String()
	_ = l.Close()
	g := &gateway{cmd: exec.Command(filepath.Join(".bin", "versitygw"), "--port", address, "--quiet", "--health", "/ready",
		"--access", access, "--secret", secret, "posix", dir)}
	if err := g.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%w: go test ./internal/s3test builds it", err)
	}
	for began := time.Now(); time.Since(began) < time.Minute; time.Sleep(5 * time.Millisecond) {
		r, err := http.Get("http://" + address + "/ready")
		if err == nil {
			_ = r.Body.Close()
			g.front = httptest.NewServer(g.proxy(&url.URL{Scheme: "http", Host: address}))
			return g, g.environ()
		}
	}
	return nil, errors.Join(errors.New("versitygw does not answer"), g.stop())
}

func (g *gateway) proxy(to *url.URL) http.Handler {
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Host = r.In.Host // it is signed
		},
		ModifyResponse: func(r *http.Response) error {
			r.Body = &counted{r.Body, &g.read}
			return nil
		},
	}
}

// environ lets the programs that are run from here on reach it.
func (g *gateway) environ() error {
	var errs []error
	for name, value := range map[string]string{"AWS_ENDPOINT_URL_S3": g.front.URL, "AWS_ACCESS_KEY_ID": access, "AWS_SECRET_ACCESS_KEY": secret,
		"AWS_REGION": "us-east-1", "AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull} {
		errs = append(errs, os.Setenv(name, value))
	}
	return errors.Join(errs...)
}

func (g *gateway) store() string { return "s3://" + bucket + "/store" }

func (g *gateway) stop() error {
	if g.front != nil {
		g.front.Close()
	}
	_ = g.cmd.Process.Kill()
	_ = g.cmd.Wait()
	return nil
}

// counted adds up what is read of a body.
type counted struct {
	io.ReadCloser
	n *atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.n.Add(int64(n))
	return n, err
}
