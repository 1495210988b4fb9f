package notify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Secret is a URL that is as good as a password. Printed in any way it shows its scheme and
// host only.
type Secret struct{ u *url.URL }

// ParseSecret reads the URL of a hook: http or https, with a host. Its error does not show
// the text.
func ParseSecret(text string) (Secret, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return Secret{}, errors.New("a hook's URL cannot be understood (it is not shown, as it is a secret)")
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return Secret{}, errors.New("a hook's URL has to begin with https:// or http:// and a host (it is not shown, as it is a secret)")
	}
	return Secret{u}, nil
}

// String shows where the hook is, and not the hook.
func (s Secret) String() string {
	if s.u == nil {
		return "no hook"
	}
	return s.u.Scheme + "://" + s.u.Host + "/…"
}

// GoString is String, for %#v.
func (s Secret) GoString() string { return s.String() }

// Format is String, whatever the verb: a value of this type cannot slip out by %+v or %x.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// MarshalText is String, so that no document shows it either.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// tryTimeout is how long one attempt to reach a hook may take.
const tryTimeout = 15 * time.Second

// maxRetryAfter bounds what a receiver may ask for.
const maxRetryAfter = time.Hour

// client sends to hooks. It follows no redirect: the message, and the secret in its URL,
// are for the host that was named.
var client = &http.Client{
	Timeout:       tryTimeout,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// post sends one body and reports anything but success. Its errors name the host only.
func post(ctx context.Context, to Secret, header http.Header, content []byte) error {
	if to.u == nil {
		return fmt.Errorf("%w: it has no URL", ErrRefused)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to.u.String(), bytes.NewReader(content))
	if err != nil {
		return fmt.Errorf("post to %s: the request cannot be made", to)
	}
	req.Header = header
	resp, err := client.Do(req)
	if err != nil {
		var whole *url.Error // its text has the URL
		if errors.As(err, &whole) {
			err = whole.Err
		}
		return fmt.Errorf("post to %s: %w", to, err)
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10) // so that the connection can be used again
	return judge(to, resp)
}

// judge tells success, what may pass and what will not from each other.
func judge(to Secret, resp *http.Response) error {
	err := fmt.Errorf("post to %s: HTTP status %d", to, resp.StatusCode)
	switch code := resp.StatusCode; {
	case code >= 200 && code < 300:
		return nil
	case code == http.StatusTooManyRequests || code == http.StatusServiceUnavailable:
		if seconds, e := strconv.Atoi(resp.Header.Get("Retry-After")); e == nil && seconds > 0 {
			return &Later{err, min(time.Duration(seconds)*time.Second, maxRetryAfter)}
		}
		return err
	case code == http.StatusRequestTimeout || code == http.StatusTooEarly || code >= 500:
		return err
	default:
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
}
