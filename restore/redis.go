// Package restore turns findings into a plan and a plan into guarded writes. Every
// write to a live Redis is one server-side script that first checks the state the plan
// recorded, creates and never overwrites, and signs a ledger, so that it can be killed
// at any moment and run again.
//
// A job comes back in two steps. First everything of it that no worker can see by
// itself: hash, dependency sets, results, registries (bulk.lua, many jobs a call of which
// live has nothing; restore.lua, all others). Then, once all hashes of the run are there,
// its id goes into its queue (release.lua, many ids a call, in order). A hash that no list
// names never runs, so a stop between the two loses nothing; the ledger remembers who still
// waits for the second.
package restore

import (
	"context"
	_ "embed"
)

// Script is a Lua script for the server.
type Script struct{ Source string }

// Call is one call of a script.
type Call struct {
	Keys []string
	Args []any
}

// Redis is the live server, as far as a restore needs it. It is used by several goroutines.
type Redis interface {
	// Run calls a script once per call, in order, and returns one reply or error value each.
	Run(ctx context.Context, db int, script Script, calls []Call) ([]any, error)
	// Pipeline runs reading commands and returns one reply or error value each.
	Pipeline(ctx context.Context, db int, commands [][]any) ([]any, error)
}

// Values reads raw values out of the snapshot's dump.
type Values interface {
	// Read returns length bytes from offset, valid until the next Read.
	Read(ctx context.Context, offset, length int64) ([]byte, error)
}

//go:embed restore.lua
var restoreLua string

//go:embed bulk.lua
var bulkLua string

//go:embed release.lua
var releaseLua string

//go:embed ready.lua
var readyLua string

//go:embed forget.lua
var forgetLua string

var (
	restoreScript = Script{restoreLua}
	bulkScript    = Script{bulkLua}
	releaseScript = Script{releaseLua}
	readyScript   = Script{readyLua}
	forgetScript  = Script{forgetLua}
)
