package main

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"time"
)

// dataset is what one benchmark runs on: so many RQ jobs over five queues in mixed
// statuses, and other keys beside them. The same seed makes the same keys and values.
type dataset struct {
	name  string
	jobs  int
	other int
}

var sizes = map[string]dataset{
	"quick": {"quick", 50_000, 12_500},
	"full":  {"full", 2_000_000, 500_000},
}

const seed = 20261123

// queues and their shares of the jobs.
var queues = []string{"orchestrator", "mail", "reports", "webhooks", "low"}

// base is when the first job was created; one follows each ten milliseconds.
var base = time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)

// far is an expiry that no benchmark sees the end of, in Unix seconds.
const far = 4102444800

// fill writes the dataset to the server at that unix socket, as commands in a pipeline.
func (d dataset) fill(socket string) error {
	c, err := net.Dial("unix", socket)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	w := &pipeline{Writer: bufio.NewWriterSize(c, 1<<20)}
	replies := make(chan error, 1)
	go func() { replies <- drain(bufio.NewReaderSize(c, 1<<20)) }()
	g := &generator{w: w, r: rand.New(rand.NewPCG(seed, uint64(d.jobs)))}
	for i := range d.jobs {
		g.job(i)
	}
	for i := range d.other {
		g.other(i)
	}
	w.command("ECHO", "the end")
	if err := w.Flush(); err != nil {
		return err
	}
	return <-replies
}

// pipeline writes commands as Redis reads them. An error stays until Flush.
type pipeline struct{ *bufio.Writer }

func (p *pipeline) command(args ...string) {
	fmt.Fprintf(p, "*%d\r\n", len(args))
	for _, a := range args {
		_, _ = p.WriteString("$" + strconv.Itoa(len(a)) + "\r\n" + a + "\r\n")
	}
}

// drain reads replies until the one to the last command.
func drain(r *bufio.Reader) error {
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return err
		}
		switch line[0] {
		case '-':
			return fmt.Errorf("redis: %s", line)
		case '$':
			n, err := strconv.Atoi(line[1 : len(line)-2])
			if err != nil {
				return err
			}
			body := make([]byte, n+2)
			if _, err := io.ReadFull(r, body); err != nil {
				return err
			}
			if string(body[:n]) == "the end" {
				return nil
			}
		}
	}
}

type generator struct {
	w    *pipeline
	r    *rand.Rand
	last string // the job before, which a deferred one waits for
}

// statuses and how many of a hundred jobs have each.
var statuses = []struct {
	name  string
	share int
}{{"queued", 50}, {"finished", 34}, {"failed", 5}, {"scheduled", 4}, {"deferred", 4}, {"started", 1}, {"canceled", 2}}

func (g *generator) status() string {
	n := g.r.IntN(100)
	for _, s := range statuses {
		if n -= s.share; n < 0 {
			return s.name
		}
	}
	return "queued"
}

// text is random bytes that do not compress, as pickled and deflated arguments do not.
func (g *generator) text(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(g.r.Uint32())
	}
	return string(b)
}

func (g *generator) id() string {
	return fmt.Sprintf("%08x-%04x-4%03x-%04x-%012x", g.r.Uint32(), g.r.Uint32()&0xffff, g.r.Uint32()&0xfff, 0x8000|g.r.Uint32()&0x3fff, g.r.Uint64()&0xffffffffffff)
}

func stamp(t time.Time) string { return t.Format("2006-01-02T15:04:05.000000Z") }

func (g *generator) job(i int) {
	id, queue, status := g.id(), queues[min(g.r.IntN(8), 4)], g.status()
	at := base.Add(time.Duration(i) * 10 * time.Millisecond)
	fields := []string{"HSET", "rq:job:" + id, "data", g.text(150 + g.r.IntN(150)), "status", status, "origin", queue,
		"created_at", stamp(at), "description", "app.tasks.run_" + strconv.Itoa(g.r.IntN(40)) + "('" + id + "')",
		"timeout", "180", "result_ttl", "86400", "started_at", "", "ended_at", "", "last_heartbeat", "", "worker_name", "",
		"success_callback_name", "", "failure_callback_name", "", "stopped_callback_name", "", "group_id", ""}
	if status != "deferred" && status != "scheduled" {
		fields = append(fields, "enqueued_at", stamp(at.Add(time.Millisecond)))
	}
	switch status {
	case "finished", "failed":
		fields = append(fields, "started_at", stamp(at.Add(time.Second)), "ended_at", stamp(at.Add(2*time.Second)))
	case "started":
		fields = append(fields, "started_at", stamp(at.Add(time.Second)))
	case "deferred":
		fields = append(fields, "dependency_id", g.last, "dependency_ids", `["`+g.last+`"]`)
	}
	g.w.command(fields...)
	g.place(id, queue, status, at)
	g.last = id
}

func (g *generator) place(id, queue, status string, at time.Time) {
	due := strconv.FormatInt(far, 10)
	switch status {
	case "queued":
		g.w.command("RPUSH", "rq:queue:"+queue, id)
	case "finished", "failed":
		g.w.command("ZADD", "rq:"+status+":"+queue, due, id)
		g.w.command("EXPIREAT", "rq:job:"+id, due)
	case "scheduled", "deferred", "canceled":
		g.w.command("ZADD", "rq:"+status+":"+queue, strconv.FormatInt(at.Unix(), 10), id)
	case "started":
		g.w.command("ZADD", "rq:wip:"+queue, due, id)
	}
	switch status {
	case "finished":
		if g.r.IntN(4) == 0 {
			g.w.command("XADD", "rq:results:"+id, fmt.Sprintf("%d-0", at.UnixMilli()), "type", "1", "return_value", g.text(40), "worker_name", "w")
			g.w.command("EXPIREAT", "rq:results:"+id, due)
		}
	case "deferred":
		g.w.command("SADD", "rq:job::"+id+":dependencies", g.last)
		g.w.command("SADD", "rq:job:"+g.last+":dependents", id)
	}
	if id[0] == '0' {
		g.w.command("SADD", "rq:queues", "rq:queue:"+queue)
	}
}

func (g *generator) other(i int) {
	name := strconv.Itoa(i)
	switch i % 4 {
	case 0, 1:
		g.w.command("SET", "session:"+name, g.text(300+g.r.IntN(400)), "EXAT", strconv.FormatInt(far, 10))
	case 2:
		g.w.command("HSET", "agent:task:"+name, "status", "done", "question", g.text(100), "updated_at", stamp(base))
	default:
		g.w.command("RPUSH", "session:"+name+":trace", g.text(80), g.text(80), g.text(80))
	}
}
