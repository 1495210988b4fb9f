// Package watch shows how the daemon does: metrics for Prometheus, and whether it is
// healthy and ready, over HTTP. The daemon says what happened in its own words; which
// series that makes is decided here, so that their number stays bounded and no label ever
// holds a job's id or content. docs/metrics.md lists every metric.
package watch

import (
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Task is a kind of run.
type Task string

// The tasks.
const (
	Backup Task = "backup"
	Verify Task = "verify"
	Drill  Task = "drill"
	Prune  Task = "prune"
	Fsck   Task = "fsck"
	Diff   Task = "diff"
)

// Reason says in a word why a run did not succeed; "" if it did.
type Reason string

// The reasons: few and closed, since each makes a series. What is none of them is Other.
const (
	RedisUnreachable Reason = "redis_unreachable"
	RedisDenied      Reason = "redis_denied"  // password, rights, TLS
	RedisLoading     Reason = "redis_loading" // it has just started
	RedisSave        Reason = "redis_save"    // its BGSAVE or replication link failed
	StoreUnreachable Reason = "store_unreachable"
	StoreDenied      Reason = "store_denied"
	NoSpace          Reason = "no_space"    // a disk is full, here or there
	NoSnapshot       Reason = "no_snapshot" // there is none yet to work with
	Damaged          Reason = "damaged"     // stored data is not what was stored
	Differences      Reason = "differences" // a drill gave something else than the snapshot
	Key              Reason = "key"         // encrypted for somebody else, or signed by nobody known
	Timeout          Reason = "timeout"
	LeaseLost        Reason = "lease_lost"
	Refused          Reason = "refused"     // for safety: docs/cli.md, exit code 7
	Interrupted      Reason = "interrupted" // told to stop; no failure
	Other            Reason = "other"
)

// Reasons lists them all.
var Reasons = []Reason{RedisUnreachable, RedisDenied, RedisLoading, RedisSave, StoreUnreachable, StoreDenied, NoSpace,
	NoSnapshot, Damaged, Differences, Key, Timeout, LeaseLost, Refused, Interrupted, Other}

// Metrics is everything that is measured. Its methods may be called at once by many; what
// one call says is seen by a scrape as a whole or not at all.
type Metrics struct {
	registry *prometheus.Registry

	mu     sync.Mutex
	series map[string]map[string]series // metric → labels → value
	named  map[string]map[string]bool   // source → queues that have series of their own
}

// series is one number and the labels it goes by.
type series struct {
	labels []string
	value  float64
}

// New returns metrics with a registry of their own, in which only the program's version and
// the state of its process is known.
func New(version string) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		series:   map[string]map[string]series{},
		named:    map[string]map[string]bool{},
	}
	m.registry.MustRegister(m, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.set(buildInfo, 1, version, runtime.Version())
	return m
}

// Describe names every metric there may be, for the registry.
func (m *Metrics) Describe(to chan<- *prometheus.Desc) {
	for _, f := range families {
		to <- f.desc
	}
}

// Collect gives the registry what is known at this moment.
func (m *Metrics) Collect(to chan<- prometheus.Metric) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, f := range families {
		for _, s := range m.series[f.name] {
			to <- prometheus.MustNewConstMetric(f.desc, f.kind, s.value, s.labels...)
		}
	}
}

// maxLabel is the longest text of a label, in bytes.
const maxLabel = 128

// legible makes any text, such as the name of somebody's queue, one that a label may hold.
func legible(text string) string {
	text = strings.ToValidUTF8(text, "�")
	if len(text) > maxLabel {
		text = strings.ToValidUTF8(text[:maxLabel], "") + "…"
	}
	return text
}

func clean(labels []string) []string {
	labels = slices.Clone(labels)
	for i := range labels {
		labels[i] = legible(labels[i])
	}
	return labels
}

// What is below is called with the mutex held, but by New.

// keyOf makes one text of labels; no valid text has the byte in between.
func keyOf(labels []string) string { return strings.Join(labels, "\xff") }

func (m *Metrics) get(f *family, labels ...string) (float64, bool) {
	s, ok := m.series[f.name][keyOf(clean(labels))]
	return s.value, ok
}

func (m *Metrics) set(f *family, value float64, labels ...string) {
	m.put(f, func(float64) float64 { return value }, labels)
}

func (m *Metrics) add(f *family, value float64, labels ...string) {
	m.put(f, func(old float64) float64 { return old + value }, labels)
}

func (m *Metrics) put(f *family, change func(float64) float64, labels []string) {
	labels = clean(labels)
	all := m.series[f.name]
	if all == nil {
		all = map[string]series{}
		m.series[f.name] = all
	}
	key := keyOf(labels)
	all[key] = series{labels, change(all[key].value)}
}

// drop removes the series of a metric whose first labels are these.
func (m *Metrics) drop(f *family, labels ...string) {
	for key, s := range m.series[f.name] {
		fits := true
		for i, label := range labels {
			fits = fits && s.labels[i] == legible(label)
		}
		if fits {
			delete(m.series[f.name], key)
		}
	}
}

// unix is an instant as Prometheus writes it, so that an age is time() minus it.
func unix(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// at sets an instant; the zero time has no series.
func (m *Metrics) at(f *family, t time.Time, labels ...string) {
	if t.IsZero() {
		m.drop(f, labels...)
		return
	}
	m.set(f, unix(t), labels...)
}

func flag(on bool) float64 {
	if on {
		return 1
	}
	return 0
}
