package verify

import (
	"context"
	"io"

	"rqvault/internal/snapshot"
)

// Outside reads every stored byte of an encrypted snapshot back, without opening it, and
// proves that they are the ones that were written: each object's size and SHA-256. What is
// inside it cannot tell.
func Outside(ctx context.Context, m *snapshot.Manifest, o StoredOptions) ([]string, error) {
	v := &storedCheck{o: o, m: m}
	var before int64
	for _, name := range []string{snapshot.KeysName, snapshot.JobsName, snapshot.DumpName} {
		n, err := v.outside(ctx, name)
		if err != nil && !isDamage(err) {
			return nil, err
		}
		if err != nil {
			v.problem("%v", err)
		}
		before += n
		if o.Progress != nil {
			o.Progress(before, 0, 0)
		}
	}
	return v.problems, nil
}

func (v *storedCheck) outside(ctx context.Context, name string) (int64, error) {
	r, err := v.o.Catalog.OpenStored(ctx, v.m, name)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(io.Discard, r)
	closeErr := r.Close()
	if err == nil {
		err = closeErr
	}
	return n, err
}
