package doctor

import (
	"context"
	"time"
)

// Patient is a Redis and what is around it, as it can be looked at. Nothing it does
// writes. Each method returns what it has when its context ends, with the reason for
// what it lacks.
type Patient interface {
	// Reach goes the way to Redis; answers says whether the other looks are worth it.
	Reach(ctx context.Context) (r Reach, answers bool)
	// Server asks Redis about itself.
	Server(ctx context.Context) *Server
	// Host looks at the machine, nil if Redis runs elsewhere.
	Host(ctx context.Context, s *Server) *Host
	// Log reads the end of Redis' log, nil if there is none to read. s may be nil.
	Log(ctx context.Context, s *Server) *Log
	// Queues looks twice at what RQ keeps there.
	Queues(ctx context.Context, s *Server) *Queues
	// Store looks for snapshots, nil if none is named.
	Store(ctx context.Context) *Store
}

// patience is how long each look may take.
const patience = 10 * time.Second

// Examine looks at all of it, in the order of an outage.
func Examine(ctx context.Context, p Patient, limits Limits, now func() time.Time) Facts {
	f := Facts{At: now(), Limits: limits}
	answers := false
	look(ctx, func(ctx context.Context) { f.Reach, answers = p.Reach(ctx) })
	if answers {
		look(ctx, func(ctx context.Context) { f.Server = p.Server(ctx) })
		look(ctx, func(ctx context.Context) { f.Host = p.Host(ctx, f.Server) })
	}
	look(ctx, func(ctx context.Context) { f.Log = p.Log(ctx, f.Server) })
	if answers && !f.Server.loading() {
		look(ctx, func(ctx context.Context) { f.Queues = p.Queues(ctx, f.Server) })
	}
	look(ctx, func(ctx context.Context) { f.Store = p.Store(ctx) })
	return f
}

func look(ctx context.Context, at func(context.Context)) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	at(ctx)
}
