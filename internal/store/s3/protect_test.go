package s3_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	aws3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"rqvault/internal/s3test"
	"rqvault/internal/snapshot"
	"rqvault/internal/store/s3"
)

// put stores n bytes.
func put(t *testing.T, s *s3.Store, key string, n int) {
	t.Helper()
	w, err := s.Create(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	if _, err := w.Write(bytes.Repeat([]byte{'x'}, n)); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// The requests that make an object ask for encryption by the service, whether the object
// goes in one piece or in parts. The server of the tests does not encrypt.
func TestTheServiceIsAskedToEncrypt(t *testing.T) {
	server := s3test.Start(t)
	for _, c := range []struct{ sse, key string }{{"", ""}, {"AES256", ""}, {"aws:kms", ""}, {"aws:kms", "alias/rqvault"}} {
		p := newProxy(t, server, false, func(string, int, *http.Request) fault { return pass })
		s := p.store(t, func(o *s3.Options) {
			o.Prefix, o.SSE, o.KMSKeyID = "p"+c.sse[:min(3, len(c.sse))]+c.key[:min(5, len(c.key))], c.sse, c.key
		})
		put(t, s, "default/snapshots/a/small", 10)
		put(t, s, "default/snapshots/a/large", smallPart+1)
		for _, op := range []string{"PutObject", "CreateMultipartUpload"} {
			seen := p.of(op)
			if len(seen) == 0 {
				t.Fatalf("no %s came", op)
			}
			for _, r := range seen {
				if got := r.header.Get("X-Amz-Server-Side-Encryption"); got != c.sse {
					t.Errorf("%s: encryption %q, want %q", op, got, c.sse)
				}
				if got := r.header.Get("X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id"); got != c.key {
					t.Errorf("%s: key %q, want %q", op, got, c.key)
				}
				if got := r.header.Get("X-Amz-Object-Lock-Mode"); got != "" {
					t.Errorf("%s: lock %q", op, got)
				}
			}
		}
	}
}

// lockedBucket makes a bucket with object lock.
func lockedBucket(t *testing.T, server *s3test.Server) string {
	t.Helper()
	server.Setenv(t)
	cfg, err := config.LoadDefaultConfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	client := aws3.NewFromConfig(cfg, func(o *aws3.Options) { o.UsePathStyle = true })
	const name = "locked-bucket"
	if _, err := client.CreateBucket(t.Context(), &aws3.CreateBucketInput{Bucket: aws.String(name), ObjectLockEnabledForBucket: aws.Bool(true)}); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestALockedObjectStays(t *testing.T) {
	server := s3test.Start(t)
	bucket := lockedBucket(t, server)
	for _, mode := range []string{"GOVERNANCE", "COMPLIANCE"} {
		p := newProxy(t, server, false, func(string, int, *http.Request) fault { return pass })
		s := p.store(t, func(o *s3.Options) { o.Bucket, o.Prefix, o.Lock, o.LockDays = bucket, mode, mode, 3 })
		put(t, s, "default/manifests/a", 0)
		for key, n := range map[string]int{"default/snapshots/a/small": 10, "default/snapshots/a/large": smallPart + 1} {
			put(t, s, key, n)
			err := s.Remove(t.Context(), key)
			var locked *snapshot.LockedError
			if !errors.Is(err, snapshot.ErrLocked) || !errors.As(err, &locked) {
				t.Fatalf("%s: remove %s: %v", mode, key, err)
			}
			if days := time.Until(locked.Lock.Until).Hours() / 24; days < 2.9 || days > 3.1 {
				t.Errorf("%s: %s is locked until %s", mode, key, locked.Lock.Until)
			}
			if o, err := s.Stat(t.Context(), key); err != nil || o.Size != int64(n) {
				t.Errorf("%s: %s after that: %+v, %v", mode, key, o, err)
			}
			if modes := modes(p, key); len(modes) != 1 || modes[0] != mode {
				t.Errorf("%s: %s was put with locks %q", mode, key, modes)
			}
		}
		// What is no part of a snapshot comes and goes.
		if err := s.Remove(t.Context(), "default/manifests/a"); err != nil {
			t.Errorf("%s: a marker: %v", mode, err)
		}
		// A store that was opened without the options does not hide what is locked either.
		plain := p.store(t, func(o *s3.Options) { o.Bucket, o.Prefix = bucket, mode })
		if err := plain.Remove(context.WithoutCancel(t.Context()), "default/snapshots/a/small"); !errors.Is(err, snapshot.ErrLocked) {
			t.Errorf("%s: removed by a store without the options: %v", mode, err)
		}
	}
}

// modes are the locks that the requests asked for which made the object.
func modes(p *proxy, key string) []string {
	op := "PutObject"
	if key == "default/snapshots/a/large" {
		op = "CreateMultipartUpload"
	}
	var all []string
	for _, r := range p.of(op) {
		if m := r.header.Get("X-Amz-Object-Lock-Mode"); m != "" {
			all = append(all, m)
		}
	}
	return all
}

func TestProtectionInAnAddress(t *testing.T) {
	o, err := s3.ParseURL("s3://bucket/p?sse=aws:kms&kms_key_id=alias/x&lock=COMPLIANCE&lock_days=30")
	if want := (s3.Protection{SSE: "aws:kms", KMSKeyID: "alias/x", Lock: "COMPLIANCE", LockDays: 30}); err != nil || o.Protection != want {
		t.Errorf("got %+v, %v", o.Protection, err)
	}
	for _, bad := range []string{"sse=none", "kms_key_id=x", "sse=AES256&kms_key_id=x", "lock=COMPLIANCE", "lock_days=3", "lock=FOREVER&lock_days=3",
		"lock=GOVERNANCE&lock_days=0", "lock=GOVERNANCE&lock_days=-1", "lock=GOVERNANCE&lock_days=4000", "lock=GOVERNANCE&lock_days=x"} {
		if _, err := s3.ParseURL("s3://bucket/p?" + bad); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}
