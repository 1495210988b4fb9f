package live

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"

	"github.com/redis/go-redis/v9"
)

// wire is one connection for very many small replies, which the client library would
// allocate one by one. Commands are written as they are and replies are read in place.
// It is used by one goroutine.
type wire struct {
	c net.Conn
	r *bufio.Reader
}

// wireBuffer is how much is read at once, in bytes.
const wireBuffer = 256 << 10

// openWire connects and logs in to a database.
func (s *Server) openWire(ctx context.Context, db int) (*wire, error) {
	c, err := s.dial(ctx, "", "")
	if err != nil {
		return nil, err
	}
	w := &wire{c: c, r: bufio.NewReaderSize(c, wireBuffer)}
	var login [][]string
	switch t := s.target; {
	case t.Password != "" && t.Username != "":
		login = append(login, []string{"AUTH", t.Username, t.Password})
	case t.Password != "":
		login = append(login, []string{"AUTH", t.Password})
	}
	if db != 0 {
		login = append(login, []string{"SELECT", strconv.Itoa(db)})
	}
	for _, words := range login {
		if err := w.ask(words...); err != nil {
			_ = c.Close()
			return nil, err
		}
	}
	return w, nil
}

// ask sends one command and waits for its reply, which it drops unless it is an error.
func (w *wire) ask(words ...string) error {
	if _, err := w.c.Write(appendCommand(nil, words...)); err != nil {
		return err
	}
	return w.skip()
}

// appendCommand appends a command as the server reads it.
func appendCommand[T string | []byte](b []byte, words ...T) []byte {
	b = appendHead(b, '*', len(words))
	for _, word := range words {
		b = appendWord(b, word)
	}
	return b
}

func appendHead(b []byte, sign byte, n int) []byte {
	return append(strconv.AppendInt(append(b, sign), int64(n), 10), '\r', '\n')
}

func appendWord[T string | []byte](b []byte, word T) []byte {
	return append(append(appendHead(b, '$', len(word)), word...), '\r', '\n')
}

var errReply = errors.New("the server's reply has an unknown shape")

// head reads the first line of a reply: its sign and its number. The number of a null is
// -1. An error that the server sent is a *ReplyError, after which the next reply can be
// read; any other error ends the connection.
func (w *wire) head() (sign byte, n int64, err error) {
	line, err := w.line()
	if err != nil {
		return 0, 0, err
	}
	sign, rest := line[0], line[1:]
	switch sign {
	case '$', '*', ':':
		n, ok := number(rest)
		if !ok {
			return 0, 0, errReply
		}
		return sign, n, nil
	case '+':
		return sign, 0, nil
	case '-':
		return sign, 0, newReplyError(string(rest))
	}
	return 0, 0, ErrNotRedis
}

// line reads up to the end of a line, which must fit into the buffer.
func (w *wire) line() ([]byte, error) {
	line, err := w.r.ReadSlice('\n')
	if errors.Is(err, io.EOF) && len(line) > 0 {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, err
	}
	line = bytes.TrimSuffix(line[:len(line)-1], []byte{'\r'})
	if len(line) == 0 {
		return nil, errReply
	}
	return line, nil
}

func number(b []byte) (int64, bool) {
	if len(b) == 0 {
		return 0, false
	}
	digits, negative := b, b[0] == '-'
	if negative {
		digits = b[1:]
	}
	n := int64(0)
	for _, c := range digits {
		if c < '0' || c > '9' || n > 1<<58 {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	if negative {
		n = -n
	}
	return n, len(digits) > 0
}

// integer reads a reply that is a number.
func (w *wire) integer() (int64, error) {
	sign, n, err := w.head()
	if err == nil && sign != ':' {
		err = errReply
	}
	return n, err
}

// array reads the head of a list of replies.
func (w *wire) array() (int, error) {
	sign, n, err := w.head()
	if err == nil && (sign != '*' || n < 0) {
		err = errReply
	}
	return int(n), err
}

// bulk appends a string to b. One that is longer than limit is read past and reported as
// cut, a null as absent.
func (w *wire) bulk(b []byte, limit int) (out []byte, state valueState, err error) {
	sign, n, err := w.head()
	switch {
	case err != nil:
		return b, absent, err
	case sign != '$':
		return b, absent, errReply
	case n < 0:
		return b, absent, nil
	case n > int64(limit):
		_, err := io.CopyN(io.Discard, w.r, n+2)
		return b, cut, err
	}
	at := len(b)
	b = append(b, make([]byte, n+2)...)
	if _, err := io.ReadFull(w.r, b[at:]); err != nil {
		return b[:at], absent, err
	}
	return b[:at+int(n)], whole, nil
}

// valueState is what came of a value.
type valueState byte

const (
	absent valueState = iota
	whole
	cut // too long to be kept
)

// skip reads past one reply.
func (w *wire) skip() error {
	sign, n, err := w.head()
	switch {
	case err != nil:
		return err
	case sign == '$' && n >= 0:
		_, err = io.CopyN(io.Discard, w.r, n+2)
	case sign == '*':
		for range n {
			if err := w.skip(); err != nil {
				return err
			}
		}
	}
	return err
}

// onlyReads refuses a command that is not a reading one, as the hook of the library's
// connections does.
func onlyReads(words ...string) error {
	args := make([]any, len(words))
	for i, word := range words {
		args[i] = word
	}
	if !isRead(args) {
		return checkRead(context.Background(), redis.NewCmd(context.Background(), args...))
	}
	return nil
}

// lost names what went wrong on a wire.
func lost(ctx context.Context, act string, err error) error {
	var said *ReplyError
	if errors.As(err, &said) {
		return fmt.Errorf("%s: %w", act, said)
	}
	return wrap(ctx, act, err)
}
