package command

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"rqvault/backup"
	"rqvault/internal/watch"
)

// phases is a backup's progress as times: what it spent them on, for the daemon's metrics.
type phases struct {
	now func() time.Time

	mu    sync.Mutex
	list  []watch.Phase
	since time.Time
}

var _ backup.Progress = (*phases)(nil)

// phaseNames are words for what backup.Save says that it does; the rest is its end.
var phaseNames = map[string]string{"redis writes its dump": "save", "reading the dump": "read", "sorting the jobs": "sort"}

// Begin implements backup.Progress.
func (p *phases) Begin(what string, _ int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end()
	p.list = append(p.list, watch.Phase{Name: cmp.Or(phaseNames[what], "other")})
}

// Update implements backup.Progress.
func (p *phases) Update(bytes, _, _ int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.list); n > 0 {
		p.list[n-1].Bytes = max(p.list[n-1].Bytes, bytes)
	}
}

func (p *phases) end() {
	now := p.now()
	if n := len(p.list); n > 0 {
		p.list[n-1].Took = now.Sub(p.since)
	}
	p.since = now
}

// all returns the phases, of which the last has ended.
func (p *phases) all() []watch.Phase {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end()
	return slices.Clone(p.list)
}
