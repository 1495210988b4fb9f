package live

import (
	"context"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Waiting counts the clients that are blocked in a command such as BLPOP or BLMOVE: they
// will take what is pushed. Where the server does not list its clients it is 0.
func (s *Server) Waiting(ctx context.Context) (int, error) {
	cmd := redis.NewStringCmd(ctx, "client", "list")
	err := wrap(ctx, "list clients", s.exec(ctx, s.target.DB, cmd))
	if err != nil && isRefusal(err) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	n := 0
	for line := range strings.Lines(cmd.Val()) {
		for word := range strings.FieldsSeq(line) {
			if flags, ok := strings.CutPrefix(word, "flags="); ok && strings.Contains(flags, "b") {
				n++
			}
		}
	}
	return n, nil
}
