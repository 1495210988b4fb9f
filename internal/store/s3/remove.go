package s3

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"rqvault/internal/snapshot"
)

// versioning is whether the bucket keeps versions, asked for once. A bucket that begins to
// keep them while a program runs is noticed by the next run.
type versioning struct {
	sync.Mutex
	asked, on bool
}

// Remove implements snapshot.Store. In a bucket that keeps versions all versions of the
// object go, and its deletion markers too: removing by name alone would add a marker and
// free nothing. The oldest goes first, so that the name shows as long as anything of it is
// left, and whoever repeats the removal finds it.
func (s *Store) Remove(ctx context.Context, key string) error {
	if err := s.check(ctx, key); err != nil {
		return s.fail("remove", key, err)
	}
	versioned, err := s.versioned(ctx)
	if err != nil {
		return s.fail("remove", key, err)
	}
	if !versioned {
		return s.removeVersion(ctx, key, nil)
	}
	versions, err := s.versions(ctx, key)
	if err != nil {
		return s.fail("remove", key, err)
	}
	for _, v := range slices.Backward(versions) {
		if err := s.removeVersion(ctx, key, v); err != nil {
			return err
		}
	}
	return nil
}

// versioned reports whether the bucket keeps versions, or did once. A service that knows no
// such thing, and one that does not let us ask, gets removals by name.
func (s *Store) versioned(ctx context.Context) (bool, error) {
	s.keeps.Lock()
	defer s.keeps.Unlock()
	if s.keeps.asked {
		return s.keeps.on, nil
	}
	out, err := s.client.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: &s.opts.Bucket})
	if err != nil {
		answered := []int{http.StatusForbidden, http.StatusNotImplemented, http.StatusMethodNotAllowed, http.StatusBadRequest}
		if !slices.Contains(answered, httpStatus(err)) {
			return false, err
		}
		s.keeps.asked = true
		return false, nil
	}
	s.keeps.asked, s.keeps.on = true, out.Status != ""
	return s.keeps.on, nil
}

// versions lists the ids of all versions and deletion markers of one object, newest first.
func (s *Store) versions(ctx context.Context, key string) ([]*string, error) {
	type version struct {
		id *string
		at time.Time
	}
	var found []version
	pages := s3.NewListObjectVersionsPaginator(s.client, &s3.ListObjectVersionsInput{Bucket: &s.opts.Bucket, Prefix: s.full(key)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		before := len(found)
		for _, v := range page.Versions {
			if aws.ToString(v.Key) == *s.full(key) {
				found = append(found, version{v.VersionId, aws.ToTime(v.LastModified)})
			}
		}
		for _, v := range page.DeleteMarkers {
			if aws.ToString(v.Key) == *s.full(key) {
				found = append(found, version{v.VersionId, aws.ToTime(v.LastModified)})
			}
		}
		// The name itself comes first among those that begin with it.
		if len(found) == before {
			break
		}
	}
	slices.SortStableFunc(found, func(a, b version) int { return b.at.Compare(a.at) })
	ids := make([]*string, len(found))
	for i, v := range found {
		ids[i] = v.id
	}
	return ids, nil
}

// removeVersion removes one version of an object, or with nil the object of a bucket
// without versions. Services disagree on what they say of a locked one, so it is looked at.
func (s *Store) removeVersion(ctx context.Context, key string, version *string) error {
	_, err := s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.opts.Bucket, Key: s.full(key), VersionId: version})
	status := httpStatus(err)
	if err = s.fail("remove", key, err); err == nil || errors.Is(err, snapshot.ErrNotFound) {
		return nil
	}
	if status == http.StatusForbidden || status == http.StatusBadRequest {
		if lock, lookErr := s.lock(ctx, key, version, time.Now()); lookErr == nil && lock != nil {
			return s.fail("remove", key, &snapshot.LockedError{Lock: *lock})
		}
	}
	return err
}

var _ snapshot.Locker = (*Store)(nil)

// Locked implements snapshot.Locker.
func (s *Store) Locked(ctx context.Context, key string, now time.Time) (*snapshot.Lock, error) {
	if err := s.check(ctx, key); err != nil {
		return nil, s.fail("stat", key, err)
	}
	lock, err := s.lock(ctx, key, nil, now)
	return lock, s.fail("stat", key, err)
}

func (s *Store) lock(ctx context.Context, key string, version *string, now time.Time) (*snapshot.Lock, error) {
	out, err := s.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &s.opts.Bucket, Key: s.full(key), VersionId: version})
	if err != nil {
		return nil, err
	}
	l := snapshot.Lock{Until: aws.ToTime(out.ObjectLockRetainUntilDate), Hold: out.ObjectLockLegalHoldStatus == types.ObjectLockLegalHoldStatusOn}
	if l.Hold || l.Until.After(now) {
		return &l, nil
	}
	return nil, nil
}
