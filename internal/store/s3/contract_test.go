package s3_test

import (
	"testing"

	"rqvault/internal/s3test"
	"rqvault/internal/snapshot"
	"rqvault/internal/store/s3"
	"rqvault/internal/store/storetest"
)

const (
	mib       = 1 << 20
	smallPart = 5 * mib // the least that S3 allows
)

func smallParts(o *s3.Options) { o.PartSize = smallPart }

func contract(t *testing.T, server *s3test.Server, change func(*s3.Options)) {
	storetest.Run(t, func(t *testing.T) snapshot.Store {
		bucket := server.NewBucket(t)
		return server.Store(t, "some/prefix", func(o *s3.Options) {
			o.Bucket = bucket
			smallParts(o)
			change(o)
		})
	})
}

func TestContractHTTP(t *testing.T) {
	contract(t, s3test.Start(t), func(*s3.Options) {})
}

func TestContractHTTPS(t *testing.T) {
	contract(t, s3test.StartTLS(t), func(*s3.Options) {})
}

func TestContractWithoutChecksums(t *testing.T) {
	contract(t, s3test.Start(t), func(o *s3.Options) { o.Checksum, o.Prefix = s3.ChecksumOff, "" })
}
