package doctor

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Server is what Redis says of itself.
type Server struct {
	Now             time.Time // by its clock; zero if it does not tell
	Info            Fields
	InfoProblem     string // why INFO could not be read
	Settings        Fields // by CONFIG GET
	SettingsProblem string
	Pings           []time.Duration
	PingProblem     string
	Slow            []SlowCommand
	SlowProblem     string
	Cluster         Fields
	LargestOutput   int64 // bytes of the largest output buffer of a client
	User            string
	Rights          []Right
	RightsProblem   string
}

// SlowCommand is an entry of the slow log, without its arguments.
type SlowCommand struct {
	Name string
	At   time.Time
	Took time.Duration
}

// num is 0 for what is absent.
func (s *Server) num(field string) int64 {
	n, err := strconv.ParseInt(s.Info[field], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func (s *Server) loading() bool { return s.num("loading") != 0 || s.num("async_loading") != 0 }

// untold is the finding where INFO lacks a field, else false.
func (s *Server) untold(field string) (finding, bool) {
	if _, there := s.Info[field]; there {
		return finding{}, false
	}
	if s.InfoProblem != "" {
		return unknown("INFO cannot be read: %s", s.InfoProblem), true
	}
	return unknown("INFO does not tell %s", field), true
}

// unset is the finding where a setting could not be read.
func (s *Server) unset(name string) finding {
	if s.SettingsProblem != "" {
		return unknown("CONFIG GET %s cannot be read: %s", name, s.SettingsProblem)
	}
	return unknown("it has no setting %s", name)
}

func judgeLoading(f *Facts) finding {
	s := f.Server
	if missing, is := s.untold("loading"); is {
		return missing
	}
	if !s.loading() {
		up := time.Duration(s.num("uptime_in_seconds")) * time.Second
		return ok("its data is loaded; it was started %s ago", span(up)).with("uptime_seconds", s.num("uptime_in_seconds"))
	}
	left := "it does not say for how long"
	if eta, err := strconv.ParseInt(s.Info["loading_eta_seconds"], 10, 64); err == nil && eta >= 0 {
		left = "about " + span(time.Duration(eta)*time.Second) + " to go"
	}
	percent, _, _ := strings.Cut(s.Info["loading_loaded_perc"], ".")
	return fail("it is loading its data, %s %% done, %s: every command but INFO is refused; wait", percent, left).
		with("percent", s.Info["loading_loaded_perc"]).with("eta_seconds", s.num("loading_eta_seconds"))
}

// Times that are worth a word.
const (
	slow  = 250 * time.Millisecond
	awful = time.Second
)

func judgeLatency(f *Facts) finding {
	pings := slices.Sorted(slices.Values(f.Server.Pings))
	if len(pings) == 0 {
		return unknown("no ping came back: %s", f.Server.PingProblem)
	}
	median, most := pings[len(pings)/2], pings[len(pings)-1]
	text := fmt.Sprintf("%d pings took %s in the median, %s at most", len(pings), short(median), short(most))
	got := ok("%s", text)
	switch {
	case median > awful:
		got = fail("%s: workers time out", text)
	case median > slow || most > 2*awful:
		got = warn("%s: the server, its host or the network is busy", text)
	}
	return got.with("median_ms", ms(median)).with("max_ms", ms(most))
}

// slowLogSpan is how far back slow commands count.
const slowLogSpan = 10 * time.Minute

func judgeSlowLog(f *Facts) finding {
	s := f.Server
	if s.SlowProblem != "" {
		return unknown("SLOWLOG cannot be read: %s", s.SlowProblem)
	}
	now := s.Now
	if now.IsZero() {
		now = f.At
	}
	many, grave, names := 0, 0, map[string]int{}
	for _, c := range s.Slow {
		if now.Sub(c.At) > slowLogSpan || c.Took < slow {
			continue
		}
		many++
		names[c.Name]++
		if c.Took >= awful {
			grave++
		}
	}
	if many < 3 && grave == 0 {
		return ok("no run of slow commands in the last ten minutes").with("slow", many)
	}
	return warn("%s took over 250 ms each in the last ten minutes (%s): while one runs, all others wait", plural(many, "command"), tally(names)).
		with("slow", many).with("commands", names)
}

func judgeClients(f *Facts) finding {
	s := f.Server
	if missing, is := s.untold("connected_clients"); is {
		return missing
	}
	n, most, refused := s.num("connected_clients"), s.num("maxclients"), s.num("rejected_connections")
	if most == 0 {
		most, _ = strconv.ParseInt(s.Settings["maxclients"], 10, 64)
	}
	got := ok("%d of %d clients, %d of them wait for a job or the like", n, most, s.num("blocked_clients"))
	switch {
	case most > 0 && n*100 >= most*95:
		got = fail("%d of %d possible clients are connected: the next ones are refused, workers too", n, most)
	case most > 0 && n*100 >= most*80:
		got = warn("%d of %d possible clients are connected: soon they are refused", n, most)
	case refused > 0:
		got = warn("%s refused since the start, because maxclients (%d) was reached", were(refused, "connection"), most)
	}
	return got.with("connected", n).with("max", most).with("blocked", s.num("blocked_clients")).with("rejected", refused)
}

// maxBuffers is how much clients' buffers may hold together, in bytes.
const maxBuffers = 256 << 20

func judgeBuffers(f *Facts) finding {
	s := f.Server
	if missing, is := s.untold("used_memory"); is {
		return missing
	}
	held := s.num("mem_clients_normal") + s.num("mem_clients_slaves")
	cut := s.num("client_output_buffer_limit_disconnections") + s.num("client_query_buffer_limit_disconnections")
	got := ok("clients' buffers hold %s", bytes(held))
	switch {
	case max(held, s.LargestOutput) > maxBuffers:
		got = warn("clients' buffers hold %s: somebody asks for much and reads slowly", bytes(max(held, s.LargestOutput)))
	case cut > 0:
		got = warn("%s cut off since the start for a full buffer", were(cut, "client"))
	}
	return got.with("bytes", held).with("largest", s.LargestOutput).with("cut_off", cut)
}
