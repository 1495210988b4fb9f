package keyspace_test

import (
	"testing"

	"rqvault/internal/keyspace"
)

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"*", "", true}, {"*", "a/b", true}, {"session:*", "session:1", true}, {"session:*", "sessions:1", false},
		{"a?c", "abc", true}, {"a?c", "ac", false}, {"[a-c]x", "bx", true}, {"[^a-c]x", "bx", false}, {"[^a-c]x", "dx", true},
		{`\*`, "*", true}, {`\*`, "a", false}, {"*a*b*", "xxaxxbxx", true}, {"*a*b", "xxaxxbxx", false}, {"", "", true},
		{"", "a", false}, {"[", "[", false}, {"a[b", "ab", true}, {"[z-a]", "m", true}, {`[\]]`, "]", true},
		{"*:orchestrator", "rq:finished:orchestrator", true}, {"aaaaaaaaaaaaaaaa*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false},
	} {
		if got := keyspace.Match([]byte(c.pattern), []byte(c.name)); got != c.want {
			t.Errorf("Match(%q, %q) = %v, want %v", c.pattern, c.name, got, c.want)
		}
	}
}

func TestFormatRoundTrip(t *testing.T) {
	for _, f := range []keyspace.Format{{Vendor: keyspace.Redis, Version: 9}, {Vendor: keyspace.Valkey, Version: 80}} {
		if got, err := keyspace.ParseFormat(f.String()); err != nil || got != f {
			t.Errorf("ParseFormat(%q) = %v, %v", f.String(), got, err)
		}
	}
	for _, bad := range []string{"", "Redis", "Redis RDB x", "KeyDB RDB 9", "Redis RDB 0"} {
		if _, err := keyspace.ParseFormat(bad); err == nil {
			t.Errorf("ParseFormat(%q) gave no error", bad)
		}
	}
}
