package source

import (
	"context"
	"fmt"

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
	return &backup.Dump{Body: linkBody{s}, Size: s.Size(), Atomic: true, Trailing: true}, nil
}

// linkBody is a dump that comes over the link. The server hangs up some time after the last
// byte; nobody waits for that, but whoever read the dump to its own end is told by Close if
// that was not the end of what the server sent.
type linkBody struct{ *replica.Stream }

// Close closes the link.
func (b linkBody) Close() error {
	whole := b.Ended()
	if err := b.Stream.Close(); err != nil || whole {
		return err
	}
	return fmt.Errorf("the server sent more than one dump, or not all of it: %w", replica.ErrProtocol)
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
