package live

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// Bounds of one pipeline: neither side has to hold more than this at once, bar a
// single larger command.
const (
	maxBatchCalls = 512
	maxBatchBytes = 8 << 20
)

// Pipeline runs commands on a connection of one database, in order, in batches, and
// returns one reply for each: string for bulk and status replies, int64, []any, nil
// for a null, and a *ReplyError where the server answered with an error. Replies
// inside a []any follow the same rule.
//
// When the connection breaks, the call returns what it has: each command without a
// sure answer holds an error, and whether it ran is not known. With ReadOnly, a batch
// with a command that is not a reading one is not sent.
func (s *Server) Pipeline(ctx context.Context, db int, cmds [][]any) ([]any, error) {
	replies := make([]any, len(cmds))
	for from := 0; from < len(cmds); {
		to := batchEnd(cmds, from)
		if err := s.runBatch(ctx, db, cmds[from:to], replies[from:to]); err != nil {
			fillAll(replies[to:], err)
			return replies, err
		}
		from = to
	}
	return replies, nil
}

func batchEnd(cmds [][]any, from int) int {
	to, bytes := from+1, argBytes(cmds[from])
	for to < len(cmds) && to-from < maxBatchCalls {
		if bytes += argBytes(cmds[to]); bytes > maxBatchBytes {
			break
		}
		to++
	}
	return to
}

func argBytes(args []any) int {
	n := 0
	for _, a := range args {
		switch v := a.(type) {
		case string:
			n += len(v)
		case []byte:
			n += len(v)
		default:
			n += 8
		}
	}
	return n
}

// runBatch sends one pipeline and fills replies; none is left open, whatever
// happens.
func (s *Server) runBatch(ctx context.Context, db int, batch [][]any, replies []any) error {
	act := fmt.Sprintf("run pipeline of %d commands", len(batch))
	cmds := make([]redis.Cmder, len(batch))
	for i, args := range batch {
		if len(args) == 0 {
			err := fmt.Errorf("%s: command %d is empty", act, i)
			fillAll(replies, err)
			return err
		}
		cmds[i] = redis.NewCmd(ctx, args...)
	}
	err := s.exec(ctx, db, cmds...)
	if err == nil || replyError(err) != nil || errors.Is(err, redis.Nil) {
		for i, c := range cmds {
			replies[i] = reply(c.(*redis.Cmd))
		}
		return nil
	}
	err = wrap(ctx, act, err)
	fillAll(replies, err)
	if ctx.Err() != nil {
		return err // the commands still belong to exec
	}
	for i, c := range cmds {
		if v, ok := answered(c.(*redis.Cmd)); ok {
			replies[i] = v
		}
	}
	return err
}

func fillAll(replies []any, err error) {
	for i := range replies {
		replies[i] = err
	}
}

func reply(c *redis.Cmd) any {
	if r := replyError(c.Err()); r != nil {
		return r
	}
	return neutral(c.Val())
}

// answered finds the replies that came before a connection broke. The library marks
// every command of the pipeline with the error but leaves the values it read. An
// empty value is what a cut reply looks like too, so it does not count.
func answered(c *redis.Cmd) (any, bool) {
	if r := replyError(c.Err()); r != nil {
		return r, true
	}
	switch v := c.Val().(type) {
	case string:
		return v, v != ""
	case int64:
		return v, v != 0
	case []any:
		return neutral(v), len(v) > 0
	}
	return nil, false
}

// neutral rids a reply of the library's types.
func neutral(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = neutral(v[i])
		}
		return v
	case error:
		if errors.Is(v, redis.Nil) {
			return nil
		}
		return newReplyError(v.Error())
	}
	return v
}

// Script is a Lua script, known to the server by its SHA-1.
type Script struct {
	source string
	sha    string
}

// NewScript prepares a script for Run.
func NewScript(source string) *Script {
	sum := sha1.Sum([]byte(source))
	return &Script{source: source, sha: hex.EncodeToString(sum[:])}
}

// Call is one run of a script. Args are strings, byte slices, integers or floats.
type Call struct {
	Keys []string
	Args []any
}

// idleRounds bounds how often calls are sent again although none of them got
// through the last time.
const idleRounds = 4

// Run executes the script once per call, pipelined in batches, and returns a reply
// for each as Pipeline does. The script is loaded once, and again if the server
// forgot it (NOSCRIPT: a restart, a SCRIPT FLUSH); calls that it refused for that
// reason did nothing and are sent again, after the others of their batch.
//
// Calls are never sent twice for another reason. After a broken connection the
// unanswered calls hold an error and may or may not have run.
func (s *Server) Run(ctx context.Context, db int, script *Script, calls []Call) ([]any, error) {
	cmds := make([][]any, len(calls))
	for i, c := range calls {
		args := make([]any, 0, 3+len(c.Keys)+len(c.Args))
		args = append(args, "evalsha", script.sha, len(c.Keys))
		for _, k := range c.Keys {
			args = append(args, k)
		}
		cmds[i] = append(args, c.Args...)
	}
	replies := make([]any, len(calls))
	for from := 0; from < len(cmds); {
		to := batchEnd(cmds, from)
		if err := s.runScript(ctx, scriptBatch{db, script, cmds[from:to], replies[from:to]}); err != nil {
			fillAll(replies[to:], err)
			return replies, err
		}
		from = to
	}
	return replies, nil
}

// scriptBatch is what goes to the server at once: calls as commands, and where their
// replies belong.
type scriptBatch struct {
	db      int
	script  *Script
	cmds    [][]any
	replies []any
}

func (s *Server) runScript(ctx context.Context, b scriptBatch) error {
	// The PING is there to be retried: it finds a live connection, so that the
	// calls, which must not be, do not hit one that died meanwhile.
	ping := redis.NewStatusCmd(ctx, "ping")
	if err := s.exec(ctx, b.db, ping); err != nil && replyError(err) == nil {
		err = wrap(ctx, "run script", err)
		fillAll(b.replies, err)
		return err
	}
	todo := make([]int, len(b.cmds)) // indexes of the calls that have not run
	for i := range todo {
		todo[i] = i
	}
	for idle := 0; len(todo) > 0 && idle < idleRounds; {
		left, err := s.scriptRound(ctx, b, todo)
		if err != nil {
			return err
		}
		if len(left) == len(todo) {
			idle++
		}
		todo = left
	}
	return nil
}

// scriptRound sends the calls named by todo, with the script's source ahead of them
// in the same pipeline if the server may not have it, and returns those that it
// refused because it has not.
func (s *Server) scriptRound(ctx context.Context, b scriptBatch, todo []int) ([]int, error) {
	var batch [][]any
	if !s.hasScript(b.script) {
		batch = append(batch, []any{"script", "load", b.script.source})
	}
	skip := len(batch)
	for _, i := range todo {
		batch = append(batch, b.cmds[i])
	}
	part := make([]any, len(batch))
	err := s.runBatch(ctx, b.db, batch, part)
	for n, i := range todo {
		b.replies[i] = part[skip+n]
	}
	if err != nil {
		return nil, err
	}
	if e, ok := part[0].(*ReplyError); ok && skip > 0 {
		return nil, fmt.Errorf("load script: %w", e)
	}
	var left []int
	for n, i := range todo {
		if e, ok := part[skip+n].(*ReplyError); ok && e.Code() == "NOSCRIPT" {
			left = append(left, i)
		}
	}
	s.setScript(b.script, len(left) == 0)
	return left, nil
}

func (s *Server) hasScript(script *Script) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.loaded[script.sha]
}

func (s *Server) setScript(script *Script, loaded bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loaded[script.sha] = loaded
}
