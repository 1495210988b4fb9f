package s3

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ChecksumOff as Options.Checksum is for services that refuse x-amz-checksum
// headers. They get Content-MD5 instead, which every one of them verifies.
const ChecksumOff = "off"

const (
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30

	minPart = 5 * mib // the protocol's bounds for every part but the last
	maxPart = 5 * gib

	defaultPart        = 16 * mib
	defaultConcurrency = 3
	maxConcurrency     = 64
	defaultIdle        = 60 * time.Second
	defaultAttempts    = 8
	defaultMaxBackoff  = 20 * time.Second
)

// Options says where a store is and how to talk to it. Only Bucket is required.
// Credentials come from the usual AWS chain: environment, shared files, web
// identity, container and instance roles.
type Options struct {
	Bucket string
	Prefix string // of all keys, without slashes at its ends; "" is the whole bucket

	Endpoint  string // http(s) URL of another service than AWS; "": AWS_ENDPOINT_URL_S3, then AWS itself
	Region    string // "": the AWS chain's, or us-east-1 at a custom endpoint
	PathStyle *bool  // bucket in the path, not in the host name; nil: true at a custom endpoint
	Checksum  string // "" or ChecksumOff

	Protection // what the service is asked to do for new objects

	PartSize    int64 // bytes per request of a large object, 16 MiB if 0; memory is (Concurrency+1) of these
	Concurrency int   // parts in flight per object, 3 if 0

	IdleTimeout time.Duration // give a connection up after this long without one byte moving; 60 s if 0
	Attempts    int           // tries per request in all, 8 if 0
	MaxBackoff  time.Duration // longest pause between tries, 20 s if 0
}

// bucketName is wider than AWS' own rules: other services allow more.
var bucketName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]$`)

// checked returns the options with defaults in place of zeros, or what is wrong
// with them. The errors repeat no value that may hold a secret.
func (o Options) checked() (Options, error) {
	if !bucketName.MatchString(o.Bucket) {
		return o, fmt.Errorf("invalid bucket name %q", o.Bucket)
	}
	if o.Prefix != "" && (o.Prefix == "." || !fs.ValidPath(o.Prefix)) {
		return o, fmt.Errorf("invalid prefix %q: want words joined by single slashes", o.Prefix)
	}
	if o.Endpoint != "" {
		if err := checkEndpoint(o.Endpoint); err != nil {
			return o, err
		}
	}
	if o.Checksum != "" && o.Checksum != ChecksumOff {
		return o, fmt.Errorf("checksum is %q, want %q or nothing", o.Checksum, ChecksumOff)
	}
	if err := o.Protection.check(); err != nil {
		return o, err
	}
	o.PartSize = orDefault(o.PartSize, defaultPart)
	o.Concurrency = orDefault(o.Concurrency, defaultConcurrency)
	o.IdleTimeout = orDefault(o.IdleTimeout, defaultIdle)
	o.Attempts = orDefault(o.Attempts, defaultAttempts)
	o.MaxBackoff = orDefault(o.MaxBackoff, defaultMaxBackoff)
	switch {
	case o.PartSize < minPart || o.PartSize > maxPart:
		return o, fmt.Errorf("part size is %d bytes, want 5 MiB to 5 GiB", o.PartSize)
	case o.Concurrency < 1 || o.Concurrency > maxConcurrency:
		return o, fmt.Errorf("concurrency is %d, want 1 to %d", o.Concurrency, maxConcurrency)
	case o.IdleTimeout < 0 || o.Attempts < 0 || o.MaxBackoff < 0:
		return o, errors.New("timeouts and attempts cannot be negative")
	}
	return o, nil
}

func orDefault[T comparable](v, instead T) T {
	var zero T
	if v == zero {
		return instead
	}
	return v
}

func checkEndpoint(raw string) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "":
		return errors.New("invalid endpoint: want http://host:port or https://host:port")
	case u.User != nil:
		return errors.New("the endpoint holds credentials: give them by AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
	case u.RawQuery != "" || u.Fragment != "":
		return errors.New("the endpoint has a query or fragment: percent-encode it as one value")
	}
	return nil
}

// parameters are what a store's URL may set after its question mark.
var parameters = map[string]func(o *Options, value string) error{
	"endpoint":   func(o *Options, v string) error { o.Endpoint = v; return nil },
	"region":     func(o *Options, v string) error { o.Region = v; return nil },
	"checksum":   func(o *Options, v string) error { o.Checksum = v; return nil },
	"sse":        func(o *Options, v string) error { o.SSE = v; return nil },
	"kms_key_id": func(o *Options, v string) error { o.KMSKeyID = v; return nil },
	"lock":       func(o *Options, v string) error { o.Lock = v; return nil },
	"lock_days": func(o *Options, v string) (err error) {
		o.LockDays, err = strconv.Atoi(v)
		if err == nil && o.LockDays < 1 {
			err = errors.New("none")
		}
		return asWanted(err, "a number of days")
	},
	"path_style": func(o *Options, v string) error {
		b, err := strconv.ParseBool(v)
		o.PathStyle = &b
		return asWanted(err, "true or false")
	},
	"part_size": func(o *Options, v string) (err error) {
		o.PartSize, err = parseSize(v)
		return err
	},
	"concurrency": func(o *Options, v string) (err error) {
		o.Concurrency, err = strconv.Atoi(v)
		return asWanted(err, "a number")
	},
	"idle_timeout": func(o *Options, v string) (err error) {
		o.IdleTimeout, err = time.ParseDuration(v)
		return asWanted(err, "a duration such as 60s")
	},
}

func asWanted(err error, want string) error {
	if err == nil {
		return nil
	}
	return errors.New("want " + want)
}

// ParseURL reads a store's address:
//
//	s3://bucket/prefix?endpoint=https://s3.example.net&region=eu-1&path_style=true
//	                  &checksum=off&part_size=16MiB&concurrency=3&idle_timeout=60s
//	                  &sse=aws:kms&kms_key_id=…&lock=GOVERNANCE&lock_days=30
//
// A parameter that is unknown, empty or given twice is an error.
func ParseURL(raw string) (Options, error) {
	o, err := parseURL(raw)
	if err == nil {
		_, err = o.checked()
	}
	if err != nil {
		return Options{}, fmt.Errorf("s3 store URL: %w", err)
	}
	return o, nil
}

func parseURL(raw string) (Options, error) {
	u, err := url.Parse(raw)
	if err != nil {
		// url.Error repeats the whole text, which may hold what nobody should read.
		var parseErr *url.Error
		if errors.As(err, &parseErr) {
			err = parseErr.Err
		}
		return Options{}, err
	}
	switch {
	case u.Scheme != "s3" || u.Opaque != "":
		return Options{}, errors.New("want s3://bucket/prefix")
	case u.User != nil:
		return Options{}, errors.New("credentials do not belong in the URL: use AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
	case u.Fragment != "":
		return Options{}, errors.New("a '#' must be written %23")
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return Options{}, errors.New("malformed parameters after the question mark")
	}
	o := Options{Bucket: u.Host, Prefix: strings.Trim(u.Path, "/")}
	for _, name := range sortedKeys(query) {
		set, known := parameters[name]
		if !known {
			return Options{}, fmt.Errorf("unknown parameter %q: known are %s",
				name, strings.Join(sortedKeys(parameters), ", "))
		}
		values := query[name]
		if len(values) != 1 || values[0] == "" {
			return Options{}, fmt.Errorf("parameter %q needs exactly one value", name)
		}
		if err := set(&o, values[0]); err != nil {
			return Options{}, fmt.Errorf("parameter %q: %w", name, err)
		}
	}
	return o, nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// parseSize reads a number of bytes, with KiB, MiB or GiB after it if wanted.
func parseSize(v string) (int64, error) {
	unit := int64(1)
	for suffix, bytes := range map[string]int64{"KiB": kib, "MiB": mib, "GiB": gib} {
		if number, ok := strings.CutSuffix(v, suffix); ok {
			v, unit = number, bytes
			break
		}
	}
	n, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
	if err != nil || n <= 0 || n > maxPart/unit {
		return 0, errors.New("want a size such as 16MiB")
	}
	return n * unit, nil
}
