package doctor

import (
	"slices"
	"time"
)

// Cause is why Redis could not be reached.
type Cause string

// The causes. The empty one: it was reached.
const (
	NoName        Cause = "no-name"
	Refused       Cause = "refused"
	NoSocket      Cause = "no-socket"
	NoAnswer      Cause = "timeout" // nobody takes the connection
	Unconnected   Cause = "unconnected"
	NoMaster      Cause = "no-master"
	BadTLS        Cause = "tls"
	Expired       Cause = "tls-expired"
	Untrusted     Cause = "tls-untrusted"
	WrongHost     Cause = "tls-name"
	NoPassword    Cause = "no-password"
	WrongPassword Cause = "wrong-password"
	NotRedis      Cause = "not-redis"
	Silent        Cause = "silent"
	Full          Cause = "maxclients"
	Busy          Cause = "busy"
	NoDB          Cause = "no-db"
	Faulty        Cause = "broken"
)

// Reach is how far the way to Redis led.
type Reach struct {
	Where    string // the address, as people name it
	Socket   bool   // by unix socket
	TLS      bool
	Cause    Cause
	Text     string // the error in one sentence, without secrets
	Addrs    []string
	CertEnds time.Time
}

// cause is what a cause means and what to do about it.
type cause struct {
	check    string // the check that fails by it
	what     string
	next     string // instead of the check's own
	headline string // with the address
	steps    []Step
}

// whenDown is what to do about a Redis that is down, in order.
var whenDown = []Step{
	{"see whether the process is there (or: docker ps -a; kubectl get pods)", "systemctl status redis-server"},
	{"read why it ended (or: docker logs, kubectl logs --previous; and dmesg, for the kernel's OOM killer)", "journalctl -u redis-server -n 50"},
	{"see that its disk and memory have room", "df -h; free -h"},
	{"keep what is there before a start can overwrite it", "cp -a /var/lib/redis /var/lib/redis.before"},
	{"start it", "systemctl start redis-server"},
	{"see that it is well", "rqvault doctor"},
	{"see what is lost", "rqvault diff"},
	{"put it back", "rqvault restore --apply"},
}

// whenSilent is what to do about one that does not answer.
var whenSilent = []Step{
	{"see what the process does: D is the disk, T is stopped, R is busy", "ps -C redis-server -o pid,stat,pcpu,rss,etime"},
	{"see that its disk and memory have room", "df -h; free -h"},
	{"end a script that does not end", "redis-cli -u $REDIS script kill"},
	{"if nothing helps, restart it", "systemctl restart redis-server"},
	{"see what is lost", "rqvault diff"},
}

var causes = map[Cause]cause{
	NoName:        {"name", "the host's name does not resolve", "", "Redis cannot be found: the name in %s does not resolve", nil},
	Refused:       {"connection", "nothing listens there: Redis is down, or listens elsewhere", "", "Redis is down: nothing listens at %s", whenDown},
	NoSocket:      {"connection", "there is no such socket: Redis is down, or listens elsewhere", "", "Redis is down: nothing listens at %s", whenDown},
	NoAnswer:      {"connection", "nobody takes the connection: the host is down, or a firewall drops it", "", "Redis cannot be reached: nobody answers at %s", whenDown},
	Unconnected:   {"connection", "no connection", "", "Redis cannot be reached at %s", whenDown},
	NoMaster:      {"connection", "no sentinel names a master that is one", "redis-cli -p 26379 sentinel masters", "Redis has no master: no sentinel of %s names one", whenDown},
	BadTLS:        {"tls", "the TLS handshake fails: the server speaks no TLS there, or wants a client certificate", "", "Redis cannot be reached: TLS fails at %s", nil},
	Expired:       {"tls", "the server's certificate has ended", "", "Redis cannot be reached: the certificate at %s has expired", nil},
	Untrusted:     {"tls", "the server's certificate is by an authority that is not trusted here", "", "Redis cannot be reached: the certificate at %s is not trusted", nil},
	WrongHost:     {"tls", "the server's certificate is for another name", "", "Redis cannot be reached: the certificate at %s is for another name", nil},
	NoPassword:    {"login", "Redis wants a password, and none was given", "", "Redis is up, but wants a password at %s", nil},
	WrongPassword: {"login", "the user or the password is wrong", "", "Redis is up, but refuses the password at %s", nil},
	NotRedis:      {"answer", "what answers there is not Redis", "ss -ltnp", "Redis is not there: something else answers at %s", nil},
	Silent:        {"answer", "it takes the connection and does not answer: it hangs, or its disk or memory does", "", "Redis hangs: it does not answer at %s", whenSilent},
	Full:          {"answer", "no connection is left (maxclients): it refuses every new client, workers too", "redis-cli -u $REDIS config set maxclients 20000", "Redis is full: it refuses new connections at %s", nil},
	Busy:          {"answer", "a script runs and does not end: every other command is refused (BUSY)", "redis-cli -u $REDIS script kill", "Redis is blocked by a script at %s", whenSilent[2:]},
	NoDB:          {"answer", "the database does not exist", "redis-cli -u $REDIS config get databases", "Redis is up, but has no such database at %s", nil},
	Faulty:        {"answer", "it does not answer as it should", "", "Redis does not work at %s", whenSilent},
}

// reached are the checks of the way, in order: what comes after the one that failed was
// not tried.
var reached = []string{"name", "connection", "tls", "login", "answer"}

// step judges one check of the way. What was not tried is no check.
func (r *Reach) step(name string, good finding) finding {
	why, failed := causes[r.Cause]
	switch {
	case !failed:
		return good
	case why.check == name:
		return fail("%s: %s", why.what, r.Text).do(why.next).with("cause", r.Cause)
	case slices.Index(reached, name) > slices.Index(reached, why.check):
		return finding{}
	}
	return good
}

func judgeName(f *Facts) finding {
	good := ok("no name to resolve")
	if len(f.Reach.Addrs) > 0 {
		good = ok("the name resolves").with("addresses", f.Reach.Addrs)
	}
	return f.Reach.step("name", good)
}

func judgeConnection(f *Facts) finding {
	return f.Reach.step("connection", ok("%s takes connections", f.Reach.Where))
}

// certificateNotice is how long before its end a certificate is worth a word.
const certificateNotice = 14 * 24 * time.Hour

func judgeTLS(f *Facts) finding {
	good := ok("the handshake succeeds")
	if end := f.Reach.CertEnds; !end.IsZero() {
		left := end.Sub(f.At)
		good = ok("the certificate ends in %s", span(left))
		if left < certificateNotice {
			good = warn("the certificate ends in %s: renew it before clients are refused", span(left))
		}
		good = good.with("ends", end.UTC())
	}
	return f.Reach.step("tls", good)
}

func judgeLogin(f *Facts) finding { return f.Reach.step("login", ok("the login succeeds")) }

func judgeAnswer(f *Facts) finding { return f.Reach.step("answer", ok("Redis answers")) }
