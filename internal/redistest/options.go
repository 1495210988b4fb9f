package redistest

import (
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Option changes how Start runs the server.
type Option func(*options)

type options struct {
	tcp          bool
	tls          bool
	sentinel     bool
	whileLoading bool
	password     string
	until        time.Time
	users        []string
	args         []string
}

// WithTCP makes the server listen on a free port of 127.0.0.1 too.
func WithTCP() Option { return func(o *options) { o.tcp = true } }

// WithTLS makes the server listen on 127.0.0.1 behind TLS, with a certificate by
// a new private CA, and require a client certificate of that CA. Files in TLS().
func WithTLS() Option { return func(o *options) { o.tls = true } }

// WithCertificateUntil is WithTLS with certificates that end at that time, in a day if
// it is not given.
func WithCertificateUntil(end time.Time) Option {
	return func(o *options) { o.tls, o.until = true, end }
}

// WithPassword sets requirepass, the password of the default user.
func WithPassword(p string) Option { return func(o *options) { o.password = p } }

// WithUser adds an ACL user; rules are in the words of ACL SETUSER, such as
// "bob on >secret ~* +psync".
func WithUser(rules string) Option {
	return func(o *options) { o.users = append(o.users, rules) }
}

// WithArgs adds configuration in the words of the command line, such as
// "--repl-diskless-sync", "no". Given last, they win over the defaults.
func WithArgs(args ...string) Option {
	return func(o *options) { o.args = append(o.args, args...) }
}

// WithReadyWhileLoading makes Start and Restart return as soon as the socket takes
// connections, though the data set may still be loading.
func WithReadyWhileLoading() Option { return func(o *options) { o.whileLoading = true } }

func (s *Server) args() []string {
	if s.opts.sentinel {
		return append([]string{filepath.Join(s.dir, "sentinel.conf"), "--sentinel"}, s.opts.args...)
	}
	a := []string{
		"--unixsocket", s.Socket(), "--dir", s.Dir(), "--logfile", filepath.Join(s.dir, "log"),
		"--save", "", "--appendonly", "no", "--daemonize", "no",
	}
	if debugNeedsConsent(s.t, s.bin) {
		a = append(a, "--enable-debug-command", "yes")
	}
	tcpPort, tlsPort := 0, 0
	if s.tls != nil {
		tlsPort = s.port
		a = append(a, "--tls-cert-file", s.tls.Cert, "--tls-key-file", s.tls.Key, "--tls-ca-cert-file", s.tls.CA,
			"--tls-auth-clients", "yes")
	} else {
		tcpPort = s.port
	}
	a = append(a, "--port", strconv.Itoa(tcpPort), "--bind", "127.0.0.1")
	if tlsPort != 0 {
		a = append(a, "--tls-port", strconv.Itoa(tlsPort))
	}
	if s.opts.password != "" {
		a = append(a, "--requirepass", s.opts.password)
	}
	for _, u := range s.opts.users {
		a = append(append(a, "--user"), strings.Fields(u)...)
	}
	return append(a, s.opts.args...)
}
