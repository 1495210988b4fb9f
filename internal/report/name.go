package report

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxName is how many characters of a name are shown.
const maxName = 300

// legible writes a name from the outside so that a person sees what is in it: bytes that
// are no text as ⟨ff⟩, characters that do not show, or that turn the direction of what
// follows, as ⟨U+202E⟩. The end of a very long one is left out, and said to be.
func legible(name string) string {
	var b strings.Builder
	shown := 0
	for i := 0; i < len(name); shown++ {
		if shown == maxName {
			fmt.Fprintf(&b, "… (%s bytes)", number(len(name)))
			break
		}
		r, size := utf8.DecodeRuneInString(name[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, "⟨%02x⟩", name[i])
		case r != ' ' && !unicode.IsPrint(r):
			fmt.Fprintf(&b, "⟨U+%04X⟩", r)
		default:
			b.WriteRune(r)
		}
		i += size
	}
	return b.String()
}
