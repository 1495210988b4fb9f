package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"rqvault/internal/snapshot"
)

// ErrChecksum: what the store sent for a whole object does not match the checksum
// that it keeps of it.
var ErrChecksum = errors.New("the stored bytes do not match their checksum")

// requestError is a request that failed: what was tried on what, what it means and
// what the service said, in one line. It never shows headers or signatures.
type requestError struct {
	act, place string
	meaning    error // one of snapshot's errors, or nil
	detail     string
	cause      error
}

func (e *requestError) Error() string {
	text := e.act + " " + e.place + ": "
	if e.meaning == nil {
		return text + e.detail
	}
	if text += e.meaning.Error(); e.detail != "" {
		text += " (" + e.detail + ")"
	}
	return text
}

func (e *requestError) Unwrap() []error {
	if e.meaning == nil {
		return []error{e.cause}
	}
	return []error{e.meaning, e.cause}
}

// fail wraps an error with the act and the object it concerns, in the Store's
// words; nil stays nil. The key "" stands for the store itself.
func (s *Store) fail(act, key string, err error) error {
	if err == nil {
		return nil
	}
	place := s.place(key)
	var known *requestError
	status := httpStatus(err)
	if errors.As(err, &known) || (status == 0 && !isOperation(err)) {
		return fmt.Errorf("%s %s: %w", act, place, err)
	}
	e := &requestError{act: act, place: place, cause: err, detail: describe(err)}
	if e.meaning = meaning(status, errorCode(err)); status == 0 {
		e.meaning = silence(err)
	}
	switch e.meaning {
	case snapshot.ErrNotFound, errCredentials:
		e.detail = "" // nothing to add
	case snapshot.ErrNoStore:
		e.detail = "bucket " + s.opts.Bucket + " does not exist"
	}
	return e
}

// place names an object for people.
func (s *Store) place(key string) string { return "s3://" + s.opts.Bucket + "/" + s.base + key }

// meaning translates a failed request. The status comes first, since services agree
// on it more than on codes.
func meaning(status int, code string) error {
	if slices.Contains(deniedCodes, code) {
		return snapshot.ErrDenied
	}
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return snapshot.ErrDenied
	case http.StatusNotFound:
		switch code {
		case "NoSuchBucket":
			return snapshot.ErrNoStore
		case "NoSuchUpload": // an upload is no object
			return nil
		}
		return snapshot.ErrNotFound
	case http.StatusRequestedRangeNotSatisfiable:
		return io.ErrUnexpectedEOF
	}
	return nil
}

// deniedCodes are said under several statuses, 404 included.
var deniedCodes = []string{"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken",
	"XAdminUserNotFound"}

// silence translates a request that got no answer.
func silence(err error) error {
	var op *net.OpError
	switch {
	case strings.Contains(err.Error(), "get credentials:"):
		return errCredentials
	case errors.As(err, &op) && op.Op == "dial":
		return snapshot.ErrUnreachable
	}
	return nil
}

// errCredentials: none of the places where the SDK looks has any.
var errCredentials = fmt.Errorf("%w: no AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE", snapshot.ErrDenied)

// httpStatus returns the status of the answer behind an error, 0 if none came.
func httpStatus(err error) int {
	var re *awshttp.ResponseError
	if errors.As(err, &re) {
		return re.HTTPStatusCode()
	}
	return 0
}

// errorCode returns the service's own word for an error, "" if it said none.
func errorCode(err error) string {
	var ae smithy.APIError
	if errors.As(err, &ae) {
		return ae.ErrorCode()
	}
	return ""
}

func isOperation(err error) bool {
	var oe *smithy.OperationError
	return errors.As(err, &oe)
}

// describe puts what a service said, or what kept the request from it, in one line.
func describe(err error) string {
	var re *awshttp.ResponseError
	if !errors.As(err, &re) || re.HTTPStatusCode() == 0 {
		return describeSilence(err)
	}
	text := fmt.Sprintf("HTTP %d", re.HTTPStatusCode())
	var ae smithy.APIError
	if errors.As(err, &ae) {
		text += " " + ae.ErrorCode()
		if m := ae.ErrorMessage(); m != "" && m != ae.ErrorCode() {
			text += ": " + m
		}
	}
	if region := re.Response.Header.Get("X-Amz-Bucket-Region"); region != "" && re.HTTPStatusCode()/100 == 3 {
		text += ", the bucket is in region " + region
	}
	if id := re.ServiceRequestID(); id != "" {
		text += ", request id " + id
	}
	return text
}

// describeSilence tells why no answer came, without the layers that only repeat the
// operation's name.
func describeSilence(err error) string {
	if errors.Is(err, context.Canceled) {
		return context.Canceled.Error()
	}
	var re *awshttp.ResponseError
	var oe *smithy.OperationError
	switch {
	case errors.As(err, &re) && re.ResponseError != nil && re.Err != nil:
		err = re.Err
	case errors.As(err, &oe) && oe.Err != nil:
		err = oe.Err
	}
	return err.Error()
}
