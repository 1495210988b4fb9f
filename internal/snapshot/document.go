package snapshot

import (
	"context"
	"fmt"
)

// ReadDocument reads a sealed document that a store keeps into v, a pointer to a struct.
func ReadDocument(ctx context.Context, s Store, key string, v any) error {
	b, err := readAll(ctx, s, key)
	if err == nil {
		err = Unseal(b, v)
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", key, err)
	}
	return nil
}

// WriteDocument stores v, a struct, as a sealed document, create-only.
func WriteDocument(ctx context.Context, s Store, key string, v any) error {
	b, err := Seal(v)
	if err == nil {
		err = writeAll(ctx, s, key, b)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", key, err)
	}
	return nil
}
