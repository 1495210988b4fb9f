package redistest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// StartSentinel runs a sentinel on a TCP port that watches master under the given
// name. The master must have a TCP port (WithTCP) and no password.
func StartSentinel(t testing.TB, name string, master *Server) *Server {
	t.Helper()
	s := &Server{t: t, bin: binary(t), dir: shortDir(t)}
	s.opts.tcp, s.opts.sentinel = true, true
	t.Cleanup(s.cleanup)
	s.port = freePort(t)
	conf := fmt.Sprintf("port %d\nbind 127.0.0.1\nunixsocket %s\ndir %s\nlogfile %s\nsentinel monitor %s 127.0.0.1 %d 1\n",
		s.port, s.Socket(), s.dir, filepath.Join(s.dir, "log"), name, master.port)
	if err := os.WriteFile(filepath.Join(s.dir, "sentinel.conf"), []byte(conf), 0o600); err != nil {
		t.Fatalf("write sentinel.conf: %v", err)
	}
	s.start()
	return s
}
