package job

// Names keeps one copy of each text that many rows share, such as a queue's name. A nil
// one keeps nothing. Not for concurrent use.
type Names struct {
	recent [64]string // by slot: most lookups end here
	all    map[string]string
}

// maxNames bounds the copies kept.
const maxNames = 1 << 14

// One returns the copy of that text.
func (n *Names) One(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	if n == nil {
		return string(b)
	}
	recent := &n.recent[(len(b)+5*int(b[0])+11*int(b[len(b)/2])+23*int(b[len(b)-1]))%len(n.recent)]
	if *recent != string(b) {
		*recent = n.keep(b)
	}
	return *recent
}

func (n *Names) keep(b []byte) string {
	if s, ok := n.all[string(b)]; ok {
		return s
	}
	s := string(b)
	if n.all == nil {
		n.all = map[string]string{}
	}
	if len(n.all) < maxNames {
		n.all[s] = s
	}
	return s
}
