package source

import (
	"context"

	"rqvault/backup"
	"rqvault/internal/replica"
)

// sync reads a full synchronisation from the replication link.
func (r *Redis) sync(ctx context.Context) (*backup.Dump, error) {
	t := r.o.Server.Target()
	s, err := replica.Sync(ctx, replica.Target{Network: t.Network, Addr: t.Addr, Username: t.Username, Password: t.Password, TLS: t.TLS}, replica.Options{})
	if err != nil {
		return nil, err
	}
	// The stream ends by itself after the dump's last byte, so what follows is a fault.
	return &backup.Dump{Body: s, Size: s.Size(), Atomic: true}, nil
}
