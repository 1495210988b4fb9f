package keyspace_test

import (
	"path"
	"strings"
	"testing"

	"rqvault/internal/keyspace"
)

func TestKindRoundTrip(t *testing.T) {
	seen := map[string]bool{}
	for k := keyspace.Other; k <= keyspace.Stream; k++ {
		name := k.String()
		if seen[name] || keyspace.ParseKind(name) != k {
			t.Errorf("kind %d is called %q, which is read as %d", k, name, keyspace.ParseKind(name))
		}
		seen[name] = true
	}
	for _, name := range []string{"", "String", "none", "kind(9)", "list "} {
		if got := keyspace.ParseKind(name); got != keyspace.Other {
			t.Errorf("ParseKind(%q): got %s, want other", name, got)
		}
	}
	if got := keyspace.Kind(200).String(); got != "kind(200)" {
		t.Errorf("a kind that does not exist: got %q", got)
	}
}

func TestParts(t *testing.T) {
	for p, want := range map[keyspace.Part][2]bool{keyspace.Whole: {true, true}, keyspace.First: {true, false}, keyspace.Middle: {false, false}, keyspace.Last: {false, true}} {
		if got := [2]bool{p.Starts(), p.Ends()}; got != want {
			t.Errorf("part %d starts and ends: got %v, want %v", p, got, want)
		}
	}
}

func TestMatchAsRedisDoes(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"", "a", false}, {"*", "\xff\x00", true}, {"?", "\xff", true}, {"?", "", false}, {"a*", "a", true}, {"*a", "aa", true},
		{"**a**", "xa", true}, {"[]", "a", false}, {"[^]", "a", true}, {"[a", "a", true}, {"[a-", "-", true}, {"[a-", "a", true}, {`[\`, `\`, true},
		{`a\`, `a\`, true}, {`\\`, `\`, true}, {"[a-c", "b", true}, {"[]a]", "]", false}, {"[^a", "b", true}, {"[a-a]", "a", true}, {"h[ae]llo", "hillo", false},
		{"[-a]", "-", true},
		// A range reaches to any byte, even to the bracket that seems to close the set: seen with Redis 7.0.
		{"[a-]", "^", true}, {"[a-]", "-", false}, {"[a-]]", "^", true}, {"[a-]]", "a]", false}, {"[a-]x", "]", true}, {"[a-]x", "ax", false}, {`[a-\]]`, "a]", true}, {"*[0-9]", "abc7", true}, {"*[0-9]x", "a1b2x", true}, {"a\x00*", "a\x00b", true},
	} {
		if got := keyspace.Match([]byte(c.pattern), []byte(c.name)); got != c.want {
			t.Errorf("Match(%q, %q): got %v, want %v", c.pattern, c.name, got, c.want)
		}
	}
}

// A pattern is a person's, a name anybody's: no pair of them may take long.
func TestMatchTakesNoExponentialTime(t *testing.T) {
	pattern, name := strings.Repeat("a*", 2000)+"b", strings.Repeat("a", 4000)
	if keyspace.Match([]byte(pattern), []byte(name)) {
		t.Error("got a match, want none")
	}
}

func FuzzMatch(f *testing.F) {
	for _, s := range []string{"*", "a?c", "[a-c]x", "[^a]", `\*`, "[", "a[b", `[\]]`, "a*b*c"} {
		f.Add(s, "abc")
	}
	f.Fuzz(func(t *testing.T, pattern, name string) {
		got := keyspace.Match([]byte(pattern), []byte(name))
		if escaped := escape(name); !keyspace.Match([]byte(escaped), []byte(name)) {
			t.Errorf("%q, escaped as %q, does not match itself", name, escaped)
		}
		if !keyspace.Match([]byte("*"), []byte(name)) || got && !keyspace.Match([]byte("*"+pattern+"*"), []byte(name)) && !strings.HasSuffix(pattern, `\`) && !strings.Contains(pattern, "[") {
			t.Errorf("%q matches %q, but not with stars around it", pattern, name)
		}
		// Where path.Match means the same, it is the oracle.
		if strings.ContainsAny(pattern, `[\`) || strings.Contains(name, "/") || !ascii(pattern) || !ascii(name) {
			return
		}
		if want, err := path.Match(pattern, name); err == nil && got != want {
			t.Errorf("Match(%q, %q): got %v, want %v", pattern, name, got, want)
		}
	})
}

func escape(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if strings.IndexByte(`*?[]\`, s[i]) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

func FuzzParseFormat(f *testing.F) {
	f.Add("Redis RDB 10")
	f.Add("Valkey RDB 80")
	f.Add("Redis RDB +9")
	f.Fuzz(func(t *testing.T, s string) {
		got, err := keyspace.ParseFormat(s)
		if err == nil && got.String() != s {
			t.Errorf("%q was read as %s", s, got)
		}
	})
}
