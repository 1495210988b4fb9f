// Package secret reads secrets from files and keeps them out of what is printed.
package secret

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
)

// maxFile is the size of the largest file that is read, in bytes: certificates are the
// largest secrets.
const maxFile = 1 << 20

// Blank stands for a secret.
const Blank = "…"

// ReadFile returns a file's content. One that is larger than a secret can be is an error.
func ReadFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("%s is larger than %d bytes", path, maxFile)
	}
	return b, err
}

// ReadLine returns a file's text without the end of its last line.
func ReadLine(path string) (string, error) {
	b, err := ReadFile(path)
	return strings.TrimRight(string(b), "\r\n"), err
}

// password is the one in a URL, up to the last @ of a word: more rather than less.
var password = regexp.MustCompile(`(://[^:@/\s]*:)[^\s]*@`)

// WithoutPassword blanks the password of whatever looks like a URL that has one.
func WithoutPassword(s string) string { return password.ReplaceAllString(s, "${1}"+Blank+"@") }
