package daemon

import (
	"context"
	"encoding/json"
	"time"

	"rqvault/internal/alarm"
	"rqvault/internal/lease"
)

// storeTicks is how many looks pass between two at the store: each costs some requests.
const storeTicks = 4

// look looks around again and again while the store is led: at the sources, and whether
// people must hear of something.
func (l *leader) look(ctx context.Context, store Store) {
	b := newAlarmBook(l, store)
	every := time.NewTicker(tick)
	defer every.Stop()
	for n := 0; ; n++ {
		var all []alarm.Alarm
		limits := alarm.Limits{Runbook: l.d.Current().Alarms.Runbook, Config: l.d.File}
		for _, s := range l.all() {
			s.look(ctx, n%storeTicks == 0)
			all = append(all, alarm.Judge(s.state(), limits, l.d.Now())...)
		}
		if ctx.Err() != nil {
			return
		}
		b.turn(ctx, all)
		select {
		case <-every.C:
		case <-ctx.Done():
			return
		}
	}
}

// state is what alarms are judged by.
func (s *charge) state() alarm.Facts {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.facts
	f.LeaseMoves = s.l.movesLately()
	return f
}

// alarmBook remembers in the store which alarms people have heard of, so that the next
// leader does not tell them again.
type alarmBook struct {
	l    *leader
	cell lease.Cell
	tag  string
	book alarm.Book
	read bool
}

func newAlarmBook(l *leader, store Store) *alarmBook {
	b := &alarmBook{l: l}
	if cell, err := store.Cell("alarms/told.json"); err == nil {
		b.cell = cell
	}
	return b
}

// turn tells what is new.
func (b *alarmBook) turn(ctx context.Context, all []alarm.Alarm) {
	b.recall(ctx)
	cfg := b.l.d.Current()
	book, notices := b.book.Turn(b.l.d.Now(), all, alarm.Policy{Repeat: cfg.Alarms.Repeat})
	b.l.d.Metrics.Alarms(b.l.names(), book.Active())
	if len(notices) == 0 {
		b.book = book
		return
	}
	if lease.Check(ctx) != nil {
		return // another process tells
	}
	b.book = book
	for _, n := range notices {
		b.l.d.Log.Warn("alarm "+string(n.State), "alarm", n.Alarm.Name, "severity", n.Alarm.Severity.String(), "source", n.Alarm.Source, "summary", n.Alarm.Summary, "next", n.Alarm.Next)
	}
	b.l.d.put(notices)
	b.keep(ctx)
}

func (b *alarmBook) recall(ctx context.Context) {
	if b.read || b.cell == nil {
		return
	}
	value, tag, err := b.cell.Load(ctx)
	if err != nil {
		return // rather told twice than not at all
	}
	b.read, b.tag = true, tag
	if tag != "" {
		if err := json.Unmarshal(value, &b.book); err != nil {
			b.l.d.Log.Warn("which alarms were told cannot be read; they are told again", "store", b.l.name)
		}
	}
}

// keep stores the book. Where that fails the next leader tells again.
func (b *alarmBook) keep(ctx context.Context) {
	if b.cell == nil || !b.read {
		return
	}
	value, err := json.Marshal(b.book)
	if err != nil || len(value) > lease.MaxValue {
		return
	}
	tag, err := b.cell.Swap(ctx, b.tag, value)
	if err != nil {
		b.read = false // what it holds now is to be read again
		b.l.d.Log.Warn("which alarms were told could not be stored", "store", b.l.name, "error", line(err))
		return
	}
	b.tag = tag
}
