package source

import (
	"context"

	"rqvault/backup"
	"rqvault/internal/live"
	"rqvault/internal/replica"
)

// sync reads a full synchronisation from the replication link.
func (r *Redis) sync(ctx context.Context) (*backup.Dump, error) {
	s, err := replica.Sync(ctx, linked(r.o.Server.Target()), replica.Options{})
	if err != nil {
		return nil, err
	}
	// The stream ends by itself after the dump's last byte, so what follows is a fault.
	return &backup.Dump{Body: s, Size: s.Size(), Atomic: true}, nil
}

// MaySync reports whether a server would give us a full synchronisation, without taking
// one; nil if it would, or is too old to be asked.
func MaySync(ctx context.Context, s *live.Server) error {
	return replica.Probe(ctx, linked(s.Target()), replica.Options{})
}

// linked is a target in the words of the replication link.
func linked(t live.Target) replica.Target {
	return replica.Target{Network: t.Network, Addr: t.Addr, Username: t.Username, Password: t.Password, TLS: t.TLS}
}
