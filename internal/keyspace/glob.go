package keyspace

// Match reports whether name fits a pattern as KEYS and SCAN understand it: * any run,
// ? any byte, [a-z] and [^a-z] sets, \ before a byte that stands for itself. It takes
// time in proportion to the product of the lengths at worst.
func Match(pattern, name []byte) bool {
	p, n := 0, 0
	star, mark := -1, 0
	for n < len(name) {
		if p < len(pattern) && pattern[p] == '*' {
			star, mark = p, n
			p++
			continue
		}
		if p < len(pattern) {
			if next, ok := matchOne(pattern[p:], name[n]); ok {
				p += next
				n++
				continue
			}
		}
		if star < 0 {
			return false
		}
		mark++
		p, n = star+1, mark
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// matchOne matches one byte with the pattern's next element and returns its length.
func matchOne(pattern []byte, c byte) (length int, ok bool) {
	switch {
	case pattern[0] == '?':
		return 1, true
	case pattern[0] == '[':
		return matchSet(pattern, c)
	case pattern[0] == '\\' && len(pattern) > 1:
		return 2, pattern[1] == c
	}
	return 1, pattern[0] == c
}

func matchSet(pattern []byte, c byte) (length int, ok bool) {
	i := 1
	not := i < len(pattern) && pattern[i] == '^'
	if not {
		i++
	}
	found := false
	for ; i < len(pattern) && pattern[i] != ']'; i++ {
		if pattern[i] == '\\' && i+1 < len(pattern) {
			i++
			found = found || pattern[i] == c
			continue
		}
		if i+2 < len(pattern) && pattern[i+1] == '-' { // up to any byte, even the bracket that seems to close
			lo, hi := min(pattern[i], pattern[i+2]), max(pattern[i], pattern[i+2])
			found = found || lo <= c && c <= hi
			i += 2
			continue
		}
		found = found || pattern[i] == c
	}
	return min(i+1, len(pattern)), found != not
}
