// Package s3 keeps a store in a bucket of Amazon S3 or of any service that speaks
// its protocol. It is the only user of the AWS SDK.
//
// The SDK's requests are used one by one, without its transfer modules, because a
// backup needs promises that those do not make:
//
//   - create-only: the request that makes an object visible (PutObject, or
//     CompleteMultipartUpload) carries If-None-Match: *;
//   - verified: each request carries a digest computed here, as a header and never
//     as a trailer, which many services refuse;
//   - bounded memory for a stream of unknown length, and no orphan: whatever fails,
//     the unfinished upload is aborted, also when the context is cancelled;
//   - no hanging: a connection without movement fails and is tried again;
//   - doubtful answers are settled: a reply that was lost makes the retry report our
//     own success as a conflict. Each object carries a random word of its writer
//     as metadata, and reading that back says exactly whose object it is.
//
// One thing no client can rule out: a single PUT whose reply was lost and that the
// server finishes only after Commit looked and reported failure. Commit looks
// several times; what appears later still is one whole object under a key that its
// writer gave up.
package s3

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/logging"

	"rqvault/internal/snapshot"
)

// customRegion signs requests to services that have no regions but want a name.
const customRegion = "us-east-1"

// Store is a prefix in a bucket as a snapshot.Store.
type Store struct {
	client *s3.Client
	opts   Options
	base   string // what all keys begin with in the bucket: "" or "prefix/"
	keeps  versioning
}

var _ snapshot.Store = (*Store)(nil)

// Open prepares the client. It reads the AWS settings and credentials' sources but
// sends nothing to the store: a missing bucket shows with the first request.
func Open(ctx context.Context, o Options) (*Store, error) {
	o, err := o.checked()
	if err != nil {
		return nil, fmt.Errorf("open s3 store: %w", err)
	}
	s := &Store{opts: o}
	if o.Prefix != "" {
		s.base = o.Prefix + "/"
	}
	if err := s.connect(ctx); err != nil {
		return nil, fmt.Errorf("open %s: %w", s, err)
	}
	return s, nil
}

func (s *Store) connect(ctx context.Context) error {
	reached := new(atomic.Bool)
	settings := []func(*config.LoadOptions) error{
		config.WithHTTPClient(newHTTPClient(s.opts.IdleTimeout, reached)),
		// Without one the SDK writes notes of its own to stderr.
		config.WithLogger(logging.Nop{}),
	}
	if s.opts.Region != "" {
		settings = append(settings, config.WithRegion(s.opts.Region))
	}
	cfg, err := config.LoadDefaultConfig(ctx, settings...)
	if err != nil {
		return err
	}
	regionMissing := false
	s.client = s3.NewFromConfig(cfg, func(o *s3.Options) {
		if s.opts.Endpoint != "" {
			o.BaseEndpoint = aws.String(s.opts.Endpoint)
		}
		custom := o.BaseEndpoint != nil // by us or by AWS_ENDPOINT_URL_S3 and its kin
		o.UsePathStyle = custom
		if s.opts.PathStyle != nil {
			o.UsePathStyle = *s.opts.PathStyle
		}
		if o.Region == "" && custom {
			o.Region = customRegion
		}
		regionMissing = o.Region == ""
		o.Logger = logging.Nop{}
		o.DisableLogOutputChecksumValidationSkipped = true
		o.Retryer = &impatient{newRetryer(s.opts), reached}
		if s.opts.Checksum == ChecksumOff {
			o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
			o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		}
	})
	if regionMissing {
		return errors.New("no region: set AWS_REGION or add ?region=… to the URL")
	}
	return nil
}

// newRetryer differs from the SDK's default in three ways. It tries more often,
// since a snapshot cannot be read again from Redis. It has no quota: the default's
// refills on success only, so that after some fifty failures nothing is retried any
// more. And it also retries 429 and the conflict that means "try again".
func newRetryer(o Options) aws.RetryerV2 {
	return retry.NewStandard(func(so *retry.StandardOptions) {
		so.MaxAttempts = o.Attempts
		so.MaxBackoff = o.MaxBackoff
		so.RateLimiter = ratelimit.None
		so.Retryables = append(so.Retryables,
			retry.RetryableHTTPStatusCode{Codes: map[int]struct{}{408: {}, 429: {}}},
			retry.RetryableErrorCode{Codes: map[string]struct{}{
				"ConditionalRequestConflict": {},
				"OperationAborted":           {},
				// A gateway over a file system, while another writer's directories come and go.
				"ExistingObjectIsDirectory": {},
			}})
	})
}

// impatient gives up soon on a service that was never there: then it is a wrong address
// rather than a bad moment, and somebody waits at the terminal.
type impatient struct {
	aws.RetryerV2
	reached *atomic.Bool
}

// firstAttempts is how often a service is called that never took a connection.
const firstAttempts = 3

// RetryDelay also ends the attempts: it is asked before each.
func (r *impatient) RetryDelay(attempt int, err error) (time.Duration, error) {
	if attempt >= firstAttempts && !r.reached.Load() {
		return 0, err
	}
	return r.RetryerV2.RetryDelay(attempt, err)
}

// String returns the store's URL without its parameters.
func (s *Store) String() string {
	return strings.TrimSuffix("s3://"+s.opts.Bucket+"/"+s.opts.Prefix, "/")
}

// Stat implements snapshot.Store.
func (s *Store) Stat(ctx context.Context, key string) (snapshot.Object, error) {
	const act = "stat"
	if err := s.check(ctx, key); err != nil {
		return snapshot.Object{}, s.fail(act, key, err)
	}
	out, err := s.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &s.opts.Bucket, Key: s.full(key)})
	if err != nil {
		err = s.fail(act, key, err)
		if errors.Is(err, snapshot.ErrNotFound) && s.bucketMissing(ctx) {
			err = s.fail(act, key, snapshot.ErrNoStore)
		}
		return snapshot.Object{}, err
	}
	if out.ContentLength == nil {
		return snapshot.Object{}, s.fail(act, key, errors.New("the service told no size"))
	}
	return snapshot.Object{Key: key, Size: *out.ContentLength, Modified: aws.ToTime(out.LastModified)}, nil
}

// bucketMissing tells a missing object from a missing bucket after a HEAD, whose
// 404 has no body that could.
func (s *Store) bucketMissing(ctx context.Context) bool {
	_, err := s.client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &s.opts.Bucket})
	return errors.Is(s.fail("stat", "", err), snapshot.ErrNotFound)
}

// check tells whether a call may go on: a live context and a key that is a plain
// relative path.
func (s *Store) check(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if key == "." || !fs.ValidPath(key) {
		return fmt.Errorf("invalid object key %q", key)
	}
	return nil
}

// full returns the key as the bucket knows it.
func (s *Store) full(key string) *string { return aws.String(s.base + key) }

// cleanupTime bounds what is done after the caller's context has ended.
const cleanupTime = 20 * time.Second

// forCleanup returns a context that outlives its parent's cancellation for a while,
// so that a cancelled write can remove what it sent.
func forCleanup(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
}
