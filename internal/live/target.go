package live

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Target says which server and database are meant and how to log in. Its String,
// its JSON and all its Printf forms leave out the passwords.
type Target struct {
	Network  string // "tcp" or "unix"
	Addr     string // host:port, or the socket's path; empty for a sentinel target until Dial found the master
	Username string // ACL user; empty means the default user
	Password string // password of that user; empty means no login
	DB       int    // database that a caller means by default

	// TLS is not nil for servers behind TLS. It is not changed by this package.
	TLS *tls.Config

	Sentinels        []string // host:port of sentinels that know the master; empty means Addr is the server
	Master           string   // the master's name among the sentinels
	SentinelUsername string
	SentinelPassword string
}

const defaultPort, defaultSentinelPort = "6379", "26379"

// String returns the target as a URL without any password.
func (t Target) String() string {
	u := url.URL{Scheme: "redis", Host: t.Addr, Path: "/" + strconv.Itoa(t.DB)}
	switch {
	case len(t.Sentinels) > 0 && t.Addr == "":
		u.Scheme, u.Host = "redis+sentinel", strings.Join(t.Sentinels, ",")
		u.Path = "/" + t.Master + u.Path
	case t.Network == "unix":
		u.Scheme, u.Host, u.Path = "unix", "", t.Addr
		if t.DB != 0 {
			u.RawQuery = "db=" + strconv.Itoa(t.DB)
		}
	}
	if t.TLS != nil {
		u.Scheme = "rediss" + strings.TrimPrefix(u.Scheme, "redis")
	}
	if t.Username != "" {
		u.User = url.User(t.Username)
	}
	return u.String()
}

// GoString is String, so that %#v shows no password either.
func (t Target) GoString() string { return t.String() }

// MarshalText is String, for JSON and structured logs.
func (t Target) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// urlHint ends the errors of addresses that cannot be read at all. They are not
// quoted, since what cannot be taken apart may hold a password.
const urlHint = "write redis://[user:password@]host:port/db, rediss:// for TLS, unix:///path/to/socket?db=0 or " +
	"redis+sentinel://host:port,host:port/master/db, with / ? # @ : and % in a password percent-encoded"

// bareHost is an address without a scheme, and certainly without a password.
var bareHost = regexp.MustCompile(`^[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[0-9]*)?$`)

// ParseURL reads the address of a server:
//
//	redis://[user:password@]host[:port][/db]
//	rediss://…                                  the same behind TLS
//	unix://[user:password@]/path[?db=N]
//	redis+sentinel://[user:password@]host[:port],…/master[/db]    also rediss+sentinel
//
// Query words: db; for TLS ca_cert, cert, key (PEM files, read here), server_name,
// insecure=true; for sentinels sentinel_username, sentinel_password. The password
// may also be set on the Target afterwards. Errors never contain a password.
func ParseURL(raw string) (Target, error) {
	raw = strings.TrimSpace(raw)
	if raw == "" {
		return Target{}, errors.New("read redis url: it is empty: write redis://localhost:6379/0")
	}
	if !strings.Contains(raw, "://") {
		if bareHost.MatchString(raw) {
			return Target{}, fmt.Errorf("read redis url: no scheme: write redis://%s", raw)
		}
		return Target{}, errors.New("read redis url: no scheme: " + urlHint)
	}
	raw, hosts := cutSentinels(raw)
	u, err := url.Parse(raw)
	if err != nil || u.Opaque != "" {
		return Target{}, errors.New("read redis url: not a url: " + urlHint)
	}
	t := Target{Network: "tcp", Username: u.User.Username()}
	t.Password, _ = u.User.Password()
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return Target{}, errors.New("read redis url: the part after ? is not readable: write name=value joined by &")
	}
	secure := strings.HasPrefix(u.Scheme, "rediss")
	if err := checkQuery(u.Scheme, q, secure); err != nil {
		return Target{}, err
	}
	db := strings.Trim(u.Path, "/")
	switch u.Scheme {
	case "redis", "rediss":
		t.Addr, err = hostPort(u.Host, defaultPort)
	case "unix":
		t.Network, t.Addr, db = "unix", u.Path, ""
		if u.Path == "" || u.Host != "" {
			err = errors.New("read redis url: a unix socket needs an absolute path: write unix:///path/to/socket?db=0")
		}
	case "redis+sentinel", "rediss+sentinel":
		t.Master, db, _ = strings.Cut(db, "/")
		t.SentinelUsername, t.SentinelPassword = q.Get("sentinel_username"), q.Get("sentinel_password")
		t.Sentinels, err = sentinelAddrs(hosts, t.Master)
	default:
		err = errors.New("read redis url: unknown scheme: " + urlHint)
	}
	if err != nil {
		return Target{}, err
	}
	if t.DB, err = parseDB(db, q); err != nil {
		return Target{}, err
	}
	if secure {
		t.TLS, err = tlsConfig(q)
	}
	return t, err
}

// WithPassword returns the target with another password; an empty one changes nothing.
func (t Target) WithPassword(password string) Target {
	if password != "" {
		t.Password = password
	}
	return t
}

// cutSentinels takes the list of hosts out of a sentinel address and leaves a
// stand-in, since net/url knows one host per URL.
func cutSentinels(raw string) (rest, hosts string) {
	scheme, after, ok := strings.Cut(raw, "+sentinel://")
	if !ok {
		return raw, ""
	}
	authority, path, _ := strings.Cut(after, "/")
	login := authority[:strings.LastIndex(authority, "@")+1]
	return scheme + "+sentinel://" + login + "sentinels/" + path, authority[len(login):]
}

func checkQuery(scheme string, q url.Values, secure bool) error {
	known := []string{"db"}
	tlsWords := []string{"ca_cert", "cert", "key", "server_name", "insecure"}
	if secure {
		known = append(known, tlsWords...)
	}
	if strings.HasSuffix(scheme, "+sentinel") {
		known = append(known, "sentinel_username", "sentinel_password")
	}
	for _, name := range slices.Sorted(maps.Keys(q)) {
		switch {
		case slices.Contains(known, name):
		case slices.Contains(tlsWords, name):
			return fmt.Errorf("read redis url: %s needs TLS: write rediss:// in place of redis://", name)
		default:
			// Not quoted: with a ? in an unencoded password it would be a piece of it.
			return fmt.Errorf("read redis url: unknown word after the ?: known are %s", strings.Join(known, ", "))
		}
	}
	return nil
}

func parseDB(path string, q url.Values) (int, error) {
	s := path
	if q.Has("db") {
		if path != "" && path != q.Get("db") {
			return 0, errors.New("read redis url: two different databases given: keep either /N or ?db=N")
		}
		s = q.Get("db")
	}
	if s == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > 1<<20 {
		return 0, errors.New("read redis url: the database is not a number: write /0 after the host, or ?db=0")
	}
	return n, nil
}

// hostPort completes an address. The port was checked by url.Parse for a single
// host; lists of sentinels are checked here.
func hostPort(host, port string) (string, error) {
	bad := errors.New("read redis url: host or port missing or not readable: " + urlHint)
	if host == "" {
		return "", errors.New("read redis url: no host: write redis://localhost:6379/0")
	}
	h, p, err := net.SplitHostPort(host)
	if err != nil {
		h, p = strings.Trim(host, "[]"), port
		if strings.Contains(h, ":") && !strings.HasPrefix(host, "[") {
			return "", bad
		}
	}
	if n, err := strconv.Atoi(p); err != nil || n < 1 || n > 65535 || h == "" {
		return "", bad
	}
	return net.JoinHostPort(h, p), nil
}

func sentinelAddrs(hosts, master string) ([]string, error) {
	if master == "" {
		return nil, errors.New("read redis url: no master name: write redis+sentinel://host:26379,host:26379/mymaster/0")
	}
	var addrs []string
	for h := range strings.SplitSeq(hosts, ",") {
		a, err := hostPort(h, defaultSentinelPort)
		if err != nil {
			return nil, err
		}
		addrs = append(addrs, a)
	}
	return addrs, nil
}

func tlsConfig(q url.Values) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: q.Get("server_name")}
	if s := q.Get("insecure"); s != "" {
		b, err := strconv.ParseBool(s)
		if err != nil {
			return nil, errors.New("read redis url: insecure is neither true nor false")
		}
		c.InsecureSkipVerify = b
	}
	if path := q.Get("ca_cert"); path != "" {
		pem, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read ca_cert: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read ca_cert %s: no PEM certificate in it", path)
		}
	}
	cert, key := q.Get("cert"), q.Get("key")
	if (cert == "") != (key == "") {
		return nil, errors.New("read redis url: cert and key belong together: give both or none")
	}
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("read client certificate %s with key %s: %w", cert, key, err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}
