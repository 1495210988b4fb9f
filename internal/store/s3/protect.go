package s3

import (
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"rqvault/internal/snapshot"
)

// Protection is what a service is asked to do for new objects, besides keeping them.
type Protection struct {
	SSE      string // "AES256" or "aws:kms": the service encrypts; "" is whatever the bucket says
	KMSKeyID string // the key for aws:kms; "" is the account's own
	// Lock is "GOVERNANCE" or "COMPLIANCE": no object of a snapshot can be removed for LockDays
	// days. The bucket must have object lock.
	Lock     string
	LockDays int
}

// maxLockDays keeps a slip of the finger in COMPLIANCE from costing a lifetime.
const maxLockDays = 3650

func (p Protection) check() error {
	switch {
	case p.SSE != "" && p.SSE != string(types.ServerSideEncryptionAes256) && p.SSE != string(types.ServerSideEncryptionAwsKms):
		return fmt.Errorf("sse is %q, want AES256 or aws:kms", p.SSE)
	case p.KMSKeyID != "" && p.SSE != string(types.ServerSideEncryptionAwsKms):
		return errors.New("kms_key_id is for sse=aws:kms")
	case p.Lock != "" && p.Lock != string(types.ObjectLockModeGovernance) && p.Lock != string(types.ObjectLockModeCompliance):
		return fmt.Errorf("lock is %q, want GOVERNANCE or COMPLIANCE", p.Lock)
	case (p.Lock != "") != (p.LockDays != 0):
		return errors.New("lock and lock_days belong together")
	case p.LockDays < 0 || p.LockDays > maxLockDays:
		return fmt.Errorf("lock_days is %d, want 1 to %d", p.LockDays, maxLockDays)
	}
	return nil
}

// encryption is what the requests that make an object say of it.
func (p Protection) encryption() (types.ServerSideEncryption, *string) {
	if p.KMSKeyID == "" {
		return types.ServerSideEncryption(p.SSE), nil
	}
	return types.ServerSideEncryption(p.SSE), &p.KMSKeyID
}

// retention is likewise. Only what is part of a snapshot is locked: the rest comes and goes.
func (s *Store) retention(key string) (types.ObjectLockMode, *time.Time) {
	p := s.opts.Protection
	if p.Lock == "" || !snapshot.Lasting(key) {
		return "", nil
	}
	return types.ObjectLockMode(p.Lock), aws.Time(time.Now().UTC().Truncate(time.Second).AddDate(0, 0, p.LockDays))
}
