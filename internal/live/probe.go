package live

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// Stage is one step on the way to a server.
type Stage string

// The stages, in their order.
const (
	AtSentinels Stage = "sentinels" // no sentinel named a master that is one
	AtName      Stage = "name"      // the host's name does not resolve
	AtConnect   Stage = "connect"   // no connection
	AtTLS       Stage = "tls"       // no agreement on TLS
	AtAnswer    Stage = "answer"    // connected, but no good answer
)

// Probe is how far the way to a server led.
type Probe struct {
	Target   Target    // for sentinels, with the master that they named
	Addrs    []string  // what the host's name resolved to, nil for an address or a socket
	CertEnds time.Time // when the first certificate of the server's chain ends; zero without TLS
	Failed   Stage     // empty if the server answered
	Err      error
	Server   *Server // nil unless it answered; it may still be loading
}

// Reach goes the way to a server step by step, so that a failure names its step. A
// server that is loading is reached: it answers INFO. The caller closes Server.
func Reach(ctx context.Context, t Target, opts Options) Probe {
	opts = opts.withDefaults()
	p := Probe{Target: t}
	if len(t.Sentinels) > 0 {
		s, err := dialSentinels(ctx, t, opts)
		if err != nil {
			return p.failed(AtSentinels, err)
		}
		p.Target = s.Target()
		_ = s.Close()
	}
	if err := p.resolve(ctx, opts); err != nil {
		return p.failed(AtName, err)
	}
	if stage, err := p.connect(ctx, opts); err != nil {
		return p.failed(stage, err)
	}
	opts.unready = true
	s, err := dialServer(ctx, p.Target, opts)
	if errors.Is(err, ErrTLS) {
		return p.failed(AtTLS, err)
	}
	if err != nil {
		return p.failed(AtAnswer, p.greeting(ctx, opts, err))
	}
	p.Server = s
	return p
}

func (p Probe) failed(at Stage, err error) Probe {
	p.Failed, p.Err = at, err
	return p
}

func (p *Probe) resolve(ctx context.Context, opts Options) error {
	host, _, err := net.SplitHostPort(p.Target.Addr)
	if p.Target.Network != "tcp" || err != nil || net.ParseIP(host) != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, opts.DialTimeout)
	defer cancel()
	p.Addrs, err = net.DefaultResolver.LookupHost(ctx, host)
	if err != nil {
		return fmt.Errorf("resolve %s: %w: %w", host, ErrUnreachable, err)
	}
	return nil
}

// connect opens one connection and, where TLS is spoken, shakes hands on it.
func (p *Probe) connect(ctx context.Context, opts Options) (Stage, error) {
	d := net.Dialer{Timeout: opts.DialTimeout}
	c, err := d.DialContext(ctx, p.Target.Network, p.Target.Addr)
	if err != nil {
		return AtConnect, wrap(ctx, "connect to "+p.Target.String(), fmt.Errorf("%w: %w", ErrUnreachable, err))
	}
	defer func() { _ = c.Close() }()
	if p.Target.TLS == nil {
		return "", nil
	}
	conf := p.Target.TLS.Clone()
	if conf.ServerName == "" {
		conf.ServerName, _, _ = net.SplitHostPort(p.Target.Addr)
	}
	hctx, cancel := context.WithTimeout(ctx, opts.DialTimeout)
	defer cancel()
	secure := tls.Client(c, conf)
	err = secure.HandshakeContext(hctx)
	certs := secure.ConnectionState().PeerCertificates
	var unverified *tls.CertificateVerificationError
	if errors.As(err, &unverified) {
		certs = unverified.UnverifiedCertificates
	}
	p.CertEnds = firstEnd(certs)
	if err != nil {
		return AtTLS, wrap(ctx, "connect to "+p.Target.String(), tlsFailure{err})
	}
	// Redis counts a connection that is gone when it looks at it as one that it refused.
	if _, err := secure.Write([]byte("PING\r\n")); err == nil {
		_ = secure.SetReadDeadline(time.Now().Add(opts.IdleTimeout))
		_, _ = secure.Read(make([]byte, 1)) // whatever it is: the answer is asked for later
	}
	return "", nil
}

// greeting is what a server without a free connection says before it hangs up. What a
// client has sent by then breaks the connection, and the words are lost.
func (p *Probe) greeting(ctx context.Context, opts Options, failure error) error {
	if !errors.Is(failure, ErrUnreachable) || errors.Is(failure, ErrSilent) || p.Target.TLS != nil {
		return failure
	}
	d := net.Dialer{Timeout: opts.DialTimeout}
	c, err := d.DialContext(ctx, p.Target.Network, p.Target.Addr)
	if err != nil {
		return failure
	}
	defer func() { _ = c.Close() }()
	words := make([]byte, 256)
	_ = c.SetReadDeadline(time.Now().Add(opts.IdleTimeout))
	n, _ := c.Read(words)
	line, _, _ := strings.Cut(string(words[:n]), "\r\n")
	if text, is := strings.CutPrefix(line, "-"); is {
		return fmt.Errorf("connect to %s: %w", p.Target, newReplyError(text))
	}
	return failure
}

func firstEnd(certs []*x509.Certificate) time.Time {
	var end time.Time
	for _, c := range certs {
		if end.IsZero() || c.NotAfter.Before(end) {
			end = c.NotAfter
		}
	}
	return end
}
