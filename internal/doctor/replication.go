package doctor

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

func judgeRole(f *Facts) finding {
	s := f.Server
	if missing, is := s.untold("role"); is {
		return missing
	}
	if s.Info["role"] == "slave" {
		master := s.master()
		return warn("it is a replica of %s: workers, and a restore, need that one", master).with("master", master)
	}
	return ok("it is a master with %s", plural(s.num("connected_slaves"), "replica"))
}

func (s *Server) master() string {
	return net.JoinHostPort(s.Info["master_host"], s.Info["master_port"])
}

// How many seconds a replica may be behind.
const (
	lagWorth = 5
	lagGrave = 60
)

func judgeReplication(f *Facts) finding {
	s := f.Server
	if missing, is := s.untold("role"); is {
		return missing
	}
	if s.Info["role"] == "slave" {
		return s.judgeLink()
	}
	if need, err := strconv.ParseInt(s.Settings["min-replicas-to-write"], 10, 64); err == nil && need > 0 && s.num("min_slaves_good_slaves") < need {
		return fail("%d of the %d replicas that it needs to take writes are there: writes are refused (NOREPLICAS)", s.num("min_slaves_good_slaves"), need)
	}
	worst, level, n := "", OK, 0
	for ; s.Info["slave"+strconv.Itoa(n)] != ""; n++ {
		what, grade := lagOf(s.Info["slave"+strconv.Itoa(n)])
		if rank[grade] < rank[level] {
			worst, level = what, grade
		}
	}
	if level != OK {
		return found(level, "%s: a failover now would lose what it lacks", worst).with("replicas", n)
	}
	return ok("%s, none behind", plural(int64(n), "replica")).with("replicas", n)
}

// lagOf judges one replica by its line of INFO.
func lagOf(line string) (what string, level Level) {
	v := Fields{}
	for pair := range strings.SplitSeq(line, ",") {
		name, value, _ := strings.Cut(pair, "=")
		v[name] = value
	}
	where := net.JoinHostPort(v["ip"], v["port"])
	if v["state"] != "online" {
		return fmt.Sprintf("replica %s is not in step yet (%s)", where, v["state"]), Warn
	}
	lag, err := strconv.Atoi(v["lag"])
	switch {
	case err != nil || lag < lagWorth:
		return "", OK
	case lag < lagGrave:
		return fmt.Sprintf("replica %s is %d s behind", where, lag), Warn
	}
	return fmt.Sprintf("replica %s is %d s behind", where, lag), Fail
}

// judgeLink looks at a replica's link to its master.
func (s *Server) judgeLink() finding {
	quiet := s.num("master_last_io_seconds_ago")
	switch {
	case s.Info["master_sync_in_progress"] == "1":
		return warn("it takes over the data of its master %s anew: what it shows is old until then", s.master())
	case s.Info["master_link_status"] != "up":
		down := time.Duration(s.num("master_link_down_since_seconds")) * time.Second
		return fail("the link to its master %s is down for %s: that one may be dead, and what is here grows old", s.master(), span(max(0, down))).
			with("down_seconds", max(0, s.num("master_link_down_since_seconds")))
	case quiet >= lagGrave/2:
		return warn("its master %s said nothing for %d s, not even a ping", s.master(), quiet)
	}
	return ok("the link to its master is up")
}

func judgeFailover(f *Facts) finding {
	s := f.Server
	if missing, is := s.untold("role"); is {
		return missing
	}
	if state := s.Info["master_failover_state"]; state != "" && state != "no-failover" {
		return warn("a failover is going on (%s): writes wait until it is over", state)
	}
	return ok("no failover is going on")
}

func judgeCluster(f *Facts) finding {
	if state := f.Server.Cluster["cluster_state"]; state != "" && state != "ok" {
		return fail("it is a node of a Redis Cluster whose state is %q: it refuses commands; and RQ cannot use a cluster", state).with("state", state)
	}
	return warn("it is a node of a Redis Cluster, which RQ cannot use").with("state", f.Server.Cluster["cluster_state"])
}
