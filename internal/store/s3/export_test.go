package s3

import (
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"rqvault/internal/snapshot"
)

// PartSize is what a part with that number holds.
var PartSize = partSize

// Client returns the SDK's client, for what a Store has no method for.
func Client(s *Store) *s3.Client { return s.client }

// Buffers returns how many buffers a writer has made and the size of the one it
// fills.
func Buffers(w snapshot.Writer) (made, bytes int) {
	own := w.(*writer)
	return own.buffers.made, cap(own.buf)
}
