package s3

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"rqvault/internal/snapshot"
)

// List implements snapshot.Store, a thousand objects per request.
func (s *Store) List(ctx context.Context, prefix, after string) iter.Seq2[snapshot.Object, error] {
	return func(yield func(snapshot.Object, error) bool) {
		in := &s3.ListObjectsV2Input{Bucket: &s.opts.Bucket, Prefix: s.full(prefix)}
		if after != "" {
			in.StartAfter = s.full(after)
		}
		last := ""
		pages := s3.NewListObjectsV2Paginator(s.client, in)
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield(snapshot.Object{}, s.fail("list", prefix, err))
				return
			}
			for _, item := range page.Contents {
				o, ok := s.object(item)
				if !ok || (after != "" && o.Key <= after) {
					continue
				}
				if o.Key <= last {
					// Callers merge and resume by order; directory buckets have none.
					yield(snapshot.Object{}, s.fail("list", prefix,
						fmt.Errorf("the service lists %q after %q: not in byte order", o.Key, last)))
					return
				}
				last = o.Key
				if !yield(o, nil) {
					return
				}
			}
		}
	}
}

// object translates one listed item. Names that are no valid keys, such as the
// "folders" that consoles make, are not ours.
func (s *Store) object(item types.Object) (snapshot.Object, bool) {
	key, ok := strings.CutPrefix(aws.ToString(item.Key), s.base)
	if !ok || key == "." || !fs.ValidPath(key) {
		return snapshot.Object{}, false
	}
	return snapshot.Object{Key: key, Size: aws.ToInt64(item.Size), Modified: aws.ToTime(item.LastModified)}, true
}

// uploadMark joins key and upload id in the name of an unfinished upload. No object
// is ever asked for under such a name.
const uploadMark = "?uploadId="

// Abandoned implements snapshot.Store: the unfinished multipart uploads. Their size
// is not known to a listing, and one that is still going on looks the same: callers
// judge by its age. The request names no prefix, since some services then look for
// one exact key; the filter is here.
func (s *Store) Abandoned(ctx context.Context) iter.Seq2[snapshot.Object, error] {
	return func(yield func(snapshot.Object, error) bool) {
		pages := s3.NewListMultipartUploadsPaginator(s.client, &s3.ListMultipartUploadsInput{Bucket: &s.opts.Bucket})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield(snapshot.Object{}, s.fail("list leftovers of", "", err))
				return
			}
			for _, up := range page.Uploads {
				key, ok := strings.CutPrefix(aws.ToString(up.Key), s.base)
				if !ok || aws.ToString(up.UploadId) == "" {
					continue
				}
				o := snapshot.Object{Key: key + uploadMark + *up.UploadId, Modified: aws.ToTime(up.Initiated)}
				if !yield(o, nil) {
					return
				}
			}
		}
	}
}

// Discard implements snapshot.Store.
func (s *Store) Discard(ctx context.Context, o snapshot.Object) error {
	i := strings.LastIndex(o.Key, uploadMark)
	if i < 0 {
		return s.fail("discard", o.Key, errors.New("not a leftover of a broken write"))
	}
	return s.fail("discard", o.Key, s.abortUpload(ctx, o.Key[:i], o.Key[i+len(uploadMark):]))
}

// abortTries bounds how often an upload is aborted until the service says that it
// is gone.
const abortTries = 3

// abortUpload ends an upload and frees its parts. A part that was on its way when
// the first request came may outlive it, so the request is repeated until the
// service knows no such upload.
func (s *Store) abortUpload(ctx context.Context, key, id string) error {
	for range abortTries {
		_, err := s.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{
			Bucket: &s.opts.Bucket, Key: s.full(key), UploadId: &id,
		})
		if httpStatus(err) == http.StatusNotFound && errorCode(err) != "NoSuchBucket" {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}
