package doctor

import (
	"strconv"
	"strings"
)

func judgeMemory(f *Facts) finding {
	s := f.Server
	if missing, is := s.untold("used_memory"); is {
		return missing
	}
	most, policy := s.num("maxmemory"), s.Info["maxmemory_policy"]
	used := s.num("used_memory") - s.num("mem_not_counted_for_evict")
	if most == 0 {
		return ok("%s used, no maxmemory", bytes(used)).with("used", used).with("max", most)
	}
	got := ok("%s of %s used", bytes(used), bytes(most))
	switch {
	case used >= most && policy == "noeviction":
		got = fail("all of maxmemory (%s) is used: Redis refuses whatever needs memory (OOM), so nothing can be enqueued or end", bytes(most))
	case used*10 >= most*9:
		got = warn("%s of %s (maxmemory) are used", bytes(used), bytes(most))
	}
	if f.Host != nil && f.Host.Available > most { // half as much again, and room to save
		got = got.do("redis-cli -u $REDIS config set maxmemory " + strconv.FormatInt(most*3/2, 10))
	}
	return got.with("used", used).with("max", most)
}

func judgeEviction(f *Facts) finding {
	s := f.Server
	if missing, is := s.untold("maxmemory_policy"); is {
		return missing
	}
	policy, most, gone := s.Info["maxmemory_policy"], s.num("maxmemory"), s.num("evicted_keys")
	expiring := 0
	if f.Queues != nil {
		for _, q := range f.Queues.All {
			if q.Expiring {
				expiring++
			}
		}
	}
	got := ok("%s: nothing of RQ's is evicted", policy)
	switch {
	case strings.HasPrefix(policy, "allkeys-") && most > 0:
		got = fail("%s with maxmemory: jobs and queues may be evicted, and %s were", policy, plural(gone, "key"))
	case gone > 0:
		got = warn("%s evicted since the start: jobs' results may be among them", were(gone, "key"))
	case most > 0 && strings.HasPrefix(policy, "volatile-") && (expiring > 0 || f.Queues == nil):
		got = warn("%s with maxmemory: waiting jobs that have a ttl may be evicted", policy)
	case most > 0 && strings.HasPrefix(policy, "volatile-"):
		got = ok("%s: waiting jobs have no ttl, so only results may be evicted", policy)
	case most == 0 && policy != "noeviction":
		got = ok("%s, but there is no maxmemory, so nothing is evicted", policy)
	}
	return got.with("policy", policy).with("evicted", gone)
}

// worthMemory is how many bytes are worth a word.
const worthMemory = 100 << 20

func judgeFragmentation(f *Facts) finding {
	s := f.Server
	if missing, is := s.untold("mem_fragmentation_ratio"); is {
		return missing
	}
	ratio, _ := strconv.ParseFloat(s.Info["mem_fragmentation_ratio"], 64)
	lost, used := s.num("mem_fragmentation_bytes"), s.num("used_memory")
	got := ok("the process takes %s for %s of data", bytes(s.num("used_memory_rss")), bytes(used))
	switch {
	case ratio > 1.5 && lost > worthMemory:
		got = warn("the process takes %s for %s of data: memory is fragmented (activedefrag helps)", bytes(s.num("used_memory_rss")), bytes(used))
	case ratio > 0 && ratio < 0.9 && used > worthMemory:
		got = warn("only %s of %s are in memory: the rest is swapped out, and slow", bytes(s.num("used_memory_rss")), bytes(used))
	}
	return got.with("ratio", ratio).with("bytes", lost)
}

// Host is the machine that Redis runs on, where that is this one.
type Host struct {
	Memory     int64  // bytes in all, 0 if it does not tell
	Available  int64  // bytes that can be had without swapping
	Overcommit string // vm.overcommit_memory: 0, 1 or 2
	HugePages  string // always, madvise or never
	Dir        string // Redis' data directory, empty if it does not tell
	DirProblem string // why it cannot be looked at
	DirGone    bool
	Free       int64 // bytes of room there, -1 if not known
	Dump       int64 // bytes of the last dump there, 0 if there is none
}

func judgeFork(f *Facts) finding {
	h, s := f.Host, f.Server
	if h.Memory == 0 || h.Overcommit == "" {
		return unknown("the host's memory cannot be read")
	}
	used, took := s.num("used_memory_rss"), s.num("latest_fork_usec")
	got := ok("%s of memory available to save %s", bytes(h.Available), bytes(used))
	switch {
	case h.Overcommit == "2":
		got = warn("vm.overcommit_memory is 2: a save needs as much memory again (%s), touched or not", bytes(used))
	case h.Overcommit == "0" && used > h.Available:
		got = warn("vm.overcommit_memory is 0 and only %s are available: a save of %s may find no memory", bytes(h.Available), bytes(used))
	case took > 1e6:
		got = warn("the last fork stopped Redis for %d ms", took/1000).do("redis-cli -u $REDIS info stats")
	}
	return got.with("available", h.Available).with("used", used).with("overcommit", h.Overcommit).with("fork_usec", took)
}

func judgeHugePages(f *Facts) finding {
	switch {
	case f.Host.HugePages == "":
		return unknown("the host does not tell")
	case f.Host.HugePages == "always" && f.Server.Settings["disable-thp"] != "yes":
		return warn("transparent huge pages are on for every process: a save copies 2 MiB for each small write meanwhile")
	}
	return ok("transparent huge pages are off for Redis").with("enabled", f.Host.HugePages)
}

func judgeDisk(f *Facts) finding {
	h := f.Host
	switch {
	case h.DirGone:
		return fail("the data directory %s is gone: Redis cannot save", h.Dir).do("mkdir -p " + h.Dir)
	case h.Dir == "" || h.DirProblem != "" || h.Free < 0:
		return unknown("the data directory cannot be looked at: %s", h.DirProblem)
	}
	used := f.Server.num("used_memory")
	got := ok("%s of room", bytes(h.Free))
	switch {
	case h.Free == 0 || h.Free < h.Dump:
		got = fail("%s of room in %s, and the last dump took %s: the next save fails", bytes(h.Free), h.Dir, bytes(h.Dump))
	case h.Free < used:
		got = warn("%s of room in %s, and Redis has %s of data", bytes(h.Free), h.Dir, bytes(used))
	}
	return got.do("df -h "+h.Dir).with("free", h.Free).with("dump", h.Dump)
}
