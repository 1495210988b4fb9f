package s3_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	sdk "github.com/aws/aws-sdk-go-v2/service/s3"

	"rqvault/backup"
	"rqvault/internal/s3test"
	"rqvault/internal/snapshot"
	"rqvault/internal/store/s3"
	"rqvault/internal/store/storetest"
)

// versions returns what the bucket still has under a name: "object" or "marker" for each.
func versions(t testing.TB, s *s3.Store, bucket, key string) []string {
	t.Helper()
	out, err := s3.Client(s).ListObjectVersions(t.Context(), &sdk.ListObjectVersionsInput{Bucket: &bucket, Prefix: &key})
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for range out.Versions {
		found = append(found, "object")
	}
	for range out.DeleteMarkers {
		found = append(found, "marker")
	}
	return found
}

// shadow removes an object by its name alone, as a program does that knows of no versions.
func shadow(t testing.TB, s *s3.Store, bucket, key string) {
	t.Helper()
	if _, err := s3.Client(s).DeleteObject(t.Context(), &sdk.DeleteObjectInput{Bucket: &bucket, Key: &key}); err != nil {
		t.Fatal(err)
	}
}

func TestRemoveTakesAllVersions(t *testing.T) {
	server := s3test.Start(t)
	s := server.Store(t, "p")
	_, err := s3.Client(s).PutBucketVersioning(t.Context(), &sdk.PutBucketVersioningInput{
		Bucket:                  &server.Bucket,
		VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
	})
	if err != nil {
		t.Fatal(err)
	}
	storetest.Put(t, s, "kk", []byte("another's"))
	storetest.Put(t, s, "k", []byte("x"))
	shadow(t, s, server.Bucket, "p/k")
	again := sdk.PutObjectInput{Bucket: &server.Bucket, Key: aws.String("p/k"), Body: strings.NewReader("y")}
	if _, err := s3.Client(s).PutObject(t.Context(), &again); err != nil {
		t.Fatal(err)
	}
	if got := versions(t, s, server.Bucket, "p/k"); len(got) != 4 {
		t.Fatalf("the test has made %q", got)
	}
	for range 2 {
		if err := s.Remove(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Stat(t.Context(), "k"); !errors.Is(err, snapshot.ErrNotFound) {
			t.Errorf("stat: got error %v, want %v", err, snapshot.ErrNotFound)
		}
		if got := versions(t, s, server.Bucket, "p/k"); len(got) != 1 {
			t.Errorf("under the names that begin with k there are %q, want one object", got)
		}
	}
	if got, err := storetest.Get(t.Context(), s, "kk", 0, -1); err != nil || string(got) != "another's" {
		t.Errorf("the other object: got %q, %v", got, err)
	}
}

// locked makes a bucket whose objects can be locked.
func locked(t testing.TB, server *s3test.Server) (s *s3.Store, bucket string) {
	t.Helper()
	bucket = "locked"
	s = server.Store(t, "p", func(o *s3.Options) { o.Bucket = bucket })
	_, err := s3.Client(s).CreateBucket(t.Context(), &sdk.CreateBucketInput{Bucket: &bucket, ObjectLockEnabledForBucket: aws.Bool(true)})
	if err != nil {
		t.Fatal(err)
	}
	return s, bucket
}

func lockUntil(t testing.TB, s *s3.Store, bucket, key string, until time.Time) {
	t.Helper()
	_, err := s3.Client(s).PutObjectRetention(t.Context(), &sdk.PutObjectRetentionInput{Bucket: &bucket, Key: &key,
		Retention: &types.ObjectLockRetention{Mode: types.ObjectLockRetentionModeGovernance, RetainUntilDate: &until}})
	if err != nil {
		t.Fatal(err)
	}
}

func TestLockedObjectsStay(t *testing.T) {
	s, bucket := locked(t, s3test.Start(t))
	until := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	for _, key := range []string{"free", "kept", "held"} {
		storetest.Put(t, s, key, []byte(key))
	}
	lockUntil(t, s, bucket, "p/kept", until)
	_, err := s3.Client(s).PutObjectLegalHold(t.Context(), &sdk.PutObjectLegalHoldInput{Bucket: &bucket, Key: aws.String("p/held"),
		LegalHold: &types.ObjectLockLegalHold{Status: types.ObjectLockLegalHoldStatusOn}})
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"free": "", "kept": "kept by lock until " + until.Format(time.RFC3339), "held": "kept by a legal hold"} {
		l, err := s.Locked(t.Context(), key, time.Now())
		if err != nil || (l == nil) != (want == "") || l != nil && l.String() != want {
			t.Errorf("%s: got lock %v, %v, want %q", key, l, err, want)
		}
		err = s.Remove(t.Context(), key)
		if want == "" {
			if err != nil {
				t.Errorf("%s: %v", key, err)
			}
			continue
		}
		if !errors.Is(err, snapshot.ErrLocked) || !strings.Contains(err.Error(), want) {
			t.Errorf("remove %s: got %v, want %v with %q", key, err, snapshot.ErrLocked, want)
		}
		if got, err := storetest.Get(t.Context(), s, key, 0, -1); err != nil || string(got) != key {
			t.Errorf("%s after that: got %q, %v", key, got, err)
		}
	}
	if l, err := s.Locked(t.Context(), "kept", until.Add(time.Second)); err != nil || l != nil {
		t.Errorf("after its time: got %v, %v", l, err)
	}
	if _, err := s.Locked(t.Context(), "none", time.Now()); !errors.Is(err, snapshot.ErrNotFound) {
		t.Errorf("of no object: got %v", err)
	}
}

// TestASnapshotWhoseManifestIsLockedStaysListed locks the manifest alone, so that the
// removal has begun when it meets the lock.
func TestASnapshotWhoseManifestIsLockedStaysListed(t *testing.T) {
	s, bucket := locked(t, s3test.Start(t))
	cat, err := snapshot.NewCatalog(s, "default")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	old := commit(t.Context(), t, cat, now.Add(-time.Hour))
	newer := commit(t.Context(), t, cat, now)
	until := now.Add(time.Hour).UTC().Truncate(time.Second)
	lockUntil(t, s, bucket, "p/default/snapshots/"+string(old)+"/manifest.json", until)
	l, err := cat.Locked(t.Context(), old, now)
	if err != nil || l == nil || !l.Until.Equal(until) {
		t.Errorf("got lock %v, %v", l, err)
	}
	if err := cat.Remove(t.Context(), old); !errors.Is(err, snapshot.ErrLocked) {
		t.Errorf("remove: got %v, want %v", err, snapshot.ErrLocked)
	}
	ids, err := cat.IDs(t.Context())
	if err != nil || len(ids) != 2 || ids[0] != old {
		t.Errorf("listed are %v, %v", ids, err)
	}
	// Retention asks before it begins.
	if err := cat.Stamp(t.Context(), snapshot.Verification{Snapshot: newer, At: now, OK: true}); err != nil {
		t.Fatal(err)
	}
	r, err := backup.Retain(t.Context(), cat, backup.Keep{Last: 1}, now)
	if err != nil || !r.Snapshots[0].Keep || r.Snapshots[0].Reasons[0] != "kept by lock until "+until.Format(time.RFC3339) {
		t.Errorf("retention says %+v, %v", r.Snapshots[0], err)
	}
	if err := r.Remove(t.Context(), nil); err != nil {
		t.Error(err)
	}
	// The lock has ended by then, as far as the one who asks knows; the store knows better.
	r, err = backup.Retain(t.Context(), cat, backup.Keep{Last: 1}, until.Add(time.Second))
	if err != nil || r.Snapshots[0].Keep {
		t.Fatalf("retention says %+v, %v", r.Snapshots[0], err)
	}
	if err := r.Remove(t.Context(), nil); err != nil || r.Snapshots[0].Removed || r.Snapshots[0].Locked == nil || !r.Snapshots[0].Locked.Until.Equal(until) {
		t.Errorf("removed: %+v, %v", r.Snapshots[0], err)
	}
	if ids, err := cat.IDs(t.Context()); err != nil || len(ids) != 2 {
		t.Errorf("listed are %v, %v", ids, err)
	}
	if err := cat.Remove(t.Context(), newer); err != nil {
		t.Error(err)
	}
	if got := versions(t, s, bucket, "p/default/snapshots/"+string(newer)); got != nil {
		t.Errorf("of the other one there are still %q", got)
	}
}

func commit(ctx context.Context, t testing.TB, cat *snapshot.Catalog, now time.Time) snapshot.ID {
	t.Helper()
	d, err := cat.Begin(ctx, now, bytes.NewReader(bytes.Repeat([]byte{byte(now.Unix())}, 64)))
	if err != nil {
		t.Fatal(err)
	}
	m := &snapshot.Manifest{CreatedAt: now, FinishedAt: now, Dump: snapshot.Dump{Checksum: "verified", Size: 1}}
	for _, name := range []string{snapshot.DumpName, snapshot.JobsName, snapshot.KeysName} {
		w, err := d.Create(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		o, err := w.Commit(ctx)
		if err != nil {
			t.Fatal(err)
		}
		m.Objects = append(m.Objects, o)
	}
	if err := d.Commit(ctx, m); err != nil {
		t.Fatal(err)
	}
	return d.ID()
}

// TestRemoveByNameWhereNobodyTellsOfVersions is for services that know no versions, and for
// credentials that may not ask.
func TestRemoveByNameWhereNobodyTellsOfVersions(t *testing.T) {
	for _, status := range []int{http.StatusForbidden, http.StatusNotImplemented} {
		var removed []string
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodDelete {
				removed = append(removed, r.URL.String())
				w.WriteHeader(http.StatusNoContent)
				return
			}
			w.WriteHeader(status)
		}))
		t.Setenv("AWS_ACCESS_KEY_ID", "a")
		t.Setenv("AWS_SECRET_ACCESS_KEY", "b")
		s, err := s3.Open(t.Context(), s3.Options{Bucket: "bucket", Endpoint: server.URL, Attempts: 1})
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"a", "b"} {
			if err := s.Remove(t.Context(), key); err != nil {
				t.Errorf("status %d: %v", status, err)
			}
		}
		server.Close()
		if got := strings.Join(removed, " "); got != "/bucket/a?x-id=DeleteObject /bucket/b?x-id=DeleteObject" {
			t.Errorf("status %d: removed %s", status, got)
		}
	}
}
