// Package arch_test holds the import rules of the program as tests, each with its reason.
package arch_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "rqvault"

// pkg is what go list says of one package.
type pkg struct {
	ImportPath, Dir                                    string
	Imports, Deps, TestImports, XTestImports, CgoFiles []string
}

// name is the package's path below the module, "." for the root.
func (p *pkg) name() string {
	if p.ImportPath == module {
		return "."
	}
	return strings.TrimPrefix(p.ImportPath, module+"/")
}

// ours returns which of the paths are of this module, by their names.
func ours(paths []string) []string {
	var names []string
	for _, path := range paths {
		if rest, ok := strings.CutPrefix(path, module+"/"); ok {
			names = append(names, rest)
		}
	}
	return names
}

// foreign reports whether a path is of another module: those have a dot in their host.
func foreign(path string) bool {
	host, _, _ := strings.Cut(path, "/")
	return strings.Contains(host, ".")
}

// list asks the go command for all packages of the module.
func list(t testing.TB) map[string]*pkg {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,Imports,Deps,TestImports,XTestImports,CgoFiles", "./...")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOPROXY=off")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v: %s", err, &stderr)
	}
	all := map[string]*pkg{}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		p := new(pkg)
		if err := d.Decode(p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all[p.name()] = p
	}
	for _, must := range []string{".", "backup", "verify", "restore", "internal/keyspace", "internal/command", "internal/store/s3"} {
		if all[must] == nil {
			t.Fatalf("go list does not know %s; it lists %d packages", must, len(all))
		}
	}
	return all
}

// owners says who may use which other module, in code that is not a test, and why.
var owners = []struct {
	prefix string
	users  []string
	why    string
}{
	{"github.com/urfave/cli", []string{"internal/command"}, "a command line must be replaceable without touching what it commands"},
	{"github.com/schollz/progressbar", []string{"internal/command"}, "only the command line writes to a terminal"},
	{"github.com/xrash/smetrics", []string{"internal/typo"}, "what people meant is guessed at in one way"},
	{"go.yaml.in/yaml", []string{"internal/config"}, "one file is YAML, and it is read in one place"},
	{"golang.org/x/term", []string{"internal/command"}, "only the command line writes to a terminal"},
	{"github.com/redis/go-redis", []string{"internal/live", "internal/redistest", "internal/bench"}, "what a client library means by an error ends in one place"},
	{"github.com/aws/", []string{"internal/store/s3"}, "one service's words must not spread"},
	{"github.com/minio/crc64nvme", []string{"internal/store/s3"}, "it is S3's checksum"},
	{"github.com/hdt3213/rdb", []string{"internal/rdb", "internal/bench"}, "it must only ever see one framed and bounded value in a guarded call"},
	{"github.com/parquet-go/", []string{"internal/index", "internal/columns"}, "it panics on some damaged input, so every read is guarded in the one, and the other only writes"},
	{"github.com/klauspost/compress", []string{"internal/seekable", "internal/columns"}, "frames, checksums and bounds are seekable's promise, and pages of an index bring their own"},
	{"github.com/prometheus/", []string{"internal/watch"}, "who measures says what happened, and only one place makes series of it, so that their number stays bounded"},
	{"github.com/robfig/cron", []string{"schedule"}, "time that passes by itself belongs to the scheduler"},
	{"github.com/cespare/xxhash", []string{"internal/index", "internal/source"}, "digests are made where keys are read"},
	{"github.com/chromedp/", []string{"internal/browsertest"}, "a browser is for tests, and what drives it must not be in the program"},
	{"filippo.io/age", []string{"internal/seal"}, "what is encrypted how, and for whom, is decided in one place"},
	{"golang.org/x/crypto", []string{"internal/seal"}, "keys of SSH are read for age only"},
	{"golang.org/x/sys", []string{"internal/store/dir", "internal/rdb"}, "system calls that Go lacks are the directory store's, and what a processor can do concerns checksums only"},
}

func TestEachDependencyHasItsPlace(t *testing.T) {
	used := map[string][]string{}
	for name, p := range list(t) {
		for _, path := range p.Imports {
			if !foreign(path) {
				continue
			}
			known := false
			for _, o := range owners {
				if !strings.HasPrefix(path, o.prefix) {
					continue
				}
				known = true
				used[o.prefix] = append(used[o.prefix], name)
				if !slices.Contains(o.users, name) {
					t.Errorf("%s imports %s, which is for %s: %s", name, path, strings.Join(o.users, " and "), o.why)
				}
			}
			if !known {
				t.Errorf("%s imports %s, which no rule knows: name its one user and the reason in this test", name, path)
			}
		}
	}
	for _, o := range owners {
		if _, err := os.Stat(filepath.Join("../..", o.users[0])); err == nil && used[o.prefix] == nil {
			t.Errorf("nobody imports %s any more: drop its rule", o.prefix)
		}
	}
}

// only lists packages whose imports from this module are all there may be.
var only = []struct {
	name   string
	allow  []string
	stdlib bool // nothing from other modules either
	why    string
}{
	{"internal/keyspace", nil, true, "everybody speaks its words, so it may lean on nobody"},
	{"internal/job", []string{"internal/keyspace"}, true, "the neutral words for work know no queue library, format or store"},
	{"internal/rq", []string{"internal/job", "internal/keyspace"}, true, "a queue schema knows no RDB and no network; the next one is a package beside it"},
	{"internal/pace", nil, true, "it slows bytes down, whatever is in them"},
	{"internal/child", nil, true, "it runs programs, and knows none of them"},
	{"internal/config", []string{"internal/pace", "internal/secret", "internal/snapshot", "internal/typo", "schedule"}, false, "it knows what may be said, and does none of it"},
	{"schedule", nil, false, "it knows when, and not what"},
	{"internal/extsort", nil, true, "it sorts bytes"},
	{"internal/lease", nil, true, "who leads is decided through a cell, whatever keeps it"},
	{"internal/lineage", nil, true, "it judges what it is given, and knows no network"},
	{"internal/doctor", nil, true, "it judges what it is told, and asks nobody"},
	{"internal/rdb", []string{"internal/keyspace"}, false, "the format knows nothing of jobs or stores"},
	{"internal/seekable", nil, false, "it packs bytes"},
	{"internal/columns", nil, false, "it writes columns, whatever is in them"},
	{"internal/index", []string{"internal/columns", "internal/extsort", "internal/job", "internal/keyspace", "internal/rdb"}, false, "rows come from records, whoever read them and through whatever schema"},
	{"internal/snapshot", []string{"internal/lineage", "internal/seekable"}, true, "the catalog declares the store it needs and knows none; a manifest is no index"},
	{"internal/idle", nil, true, "it watches a clock, whatever is spoken"},
	{"internal/replica", []string{"internal/idle"}, true, "it speaks the replication protocol and nothing else"},
	{"internal/master", []string{"internal/idle"}, true, "it speaks the other end of the replication protocol, whatever dump it sends"},
	{"internal/scratch", []string{"internal/child"}, true, "it runs one program and knows nothing of what is in it"},
	{"internal/live", []string{"internal/idle", "internal/lineage", "internal/master", "internal/pace"}, false, "it reads and writes Redis, and decides nothing about jobs"},
	{"internal/store/dir", []string{"internal/lease", "internal/snapshot"}, false, "a store knows only the interfaces it serves"},
	{"internal/store/s3", []string{"internal/lease", "internal/snapshot"}, false, "a store knows only the interfaces it serves"},
	{"internal/seal", []string{"internal/snapshot"}, false, "it encrypts what the catalog gives it, and knows neither jobs nor where bytes go"},
	{"internal/report", []string{"internal/lineage", "verify"}, true, "a page is made of what was found, whoever found it and however"},
	{"internal/alarm", nil, true, "it decides what people must hear of from plain facts, whoever gathered them"},
	{"internal/notify", []string{"internal/alarm"}, true, "it sends what was decided, and decides nothing"},
	{"internal/queues", []string{"internal/doctor", "internal/job", "internal/live", "internal/rq"}, true, "it looks, and judges nothing"},
	{"internal/secret", nil, true, "everybody who prints may need it"},
	{"internal/typo", nil, false, "it compares words"},
	{"internal/watch", []string{"internal/alarm"}, false, "it shows what it is told, and asks nobody"},
	{"internal/niceness", nil, true, "it asks the system, and nobody else"},
	{".", []string{"internal/command", "internal/niceness"}, true, "main only starts the command line"},
}

func TestPackagesKnowOnlyWhatTheyMay(t *testing.T) {
	all := list(t)
	for _, rule := range only {
		p := all[rule.name]
		if p == nil {
			t.Errorf("there is no %s any more: drop its rule", rule.name)
			continue
		}
		for _, name := range ours(p.Imports) {
			if !slices.Contains(rule.allow, name) {
				t.Errorf("%s imports %s; it may import %v: %s", rule.name, name, rule.allow, rule.why)
			}
		}
		for _, path := range p.Imports {
			if rule.stdlib && foreign(path) {
				t.Errorf("%s imports %s; it may import the standard library only: %s", rule.name, path, rule.why)
			}
		}
	}
}

// never lists what a package must not reach, not even through others.
var never = []struct {
	from, to []string
	why      string
}{
	{[]string{"verify", "backup", "restore"}, []string{"internal/live", "internal/replica", "internal/store/", "internal/source", "internal/command", "internal/scratch", "internal/seal",
		"github.com/redis/", "github.com/aws/", "github.com/urfave/", "internal/redistest", "internal/s3test"},
		"the core sees small interfaces declared beside it, so that it can be tested, and reasoned about, without a network"},
	{[]string{"internal/daemon"}, []string{"internal/store/", "internal/source", "restore", "github.com/urfave/"},
		"the daemon types command lines, and only watches what becomes of them"},
	{[]string{"verify"}, []string{"restore", "backup"}, "data flows one way: findings are made before plans, and whoever verifies must not be able to write"},
	{[]string{"backup"}, []string{"restore", "verify"}, "taking a snapshot needs neither to judge nor to restore one"},
	{[]string{"restore"}, []string{"backup"}, "a restore works from what is stored"},
	{[]string{"internal/snapshot", "internal/lease"}, []string{"internal/store/"}, "stores serve the catalog and the lease, never the other way round"},
	{[]string{"internal/keyspace", "internal/job", "internal/rq", "internal/lineage", "internal/index", "internal/rdb", "internal/seekable", "internal/report", "internal/alarm", "internal/doctor", "verify"},
		[]string{"net/http", "os/exec"}, "what reads and decides calls nobody"},
	{[]string{"internal/keyspace", "internal/job", "internal/rq", "internal/lineage", "internal/seekable", "internal/report", "internal/alarm", "internal/doctor"}, []string{"os", "log", "flag"},
		"pure code neither reads the environment nor prints"},
}

func TestNothingReachesBack(t *testing.T) {
	all := list(t)
	for _, rule := range never {
		for _, from := range rule.from {
			p := all[from]
			if p == nil {
				t.Errorf("there is no %s any more: drop its rule", from)
				continue
			}
			for _, path := range reached(p, rule.to) {
				t.Errorf("%s reaches %s: %s", from, path, rule.why)
			}
		}
	}
}

// reached returns what of the module's packages and of others p depends on that is
// banned. A ban of a standard package counts for direct imports only: fmt needs os.
func reached(p *pkg, banned []string) []string {
	var hits []string
	for _, ban := range banned {
		full := ban
		if strings.HasPrefix(ban, "internal/") || ban == "restore" || ban == "backup" || ban == "verify" {
			full = module + "/" + ban
		}
		paths := p.Deps
		if full == ban && !foreign(ban) {
			paths = p.Imports
		}
		for _, path := range paths {
			if path == full || strings.HasSuffix(full, "/") && strings.HasPrefix(path, full) {
				hits = append(hits, path)
			}
		}
	}
	return hits
}

func TestWhoMayBeImported(t *testing.T) {
	for name, p := range list(t) {
		for _, dep := range ours(p.Imports) {
			switch {
			case dep == "internal/command" && name != ".":
				t.Errorf("%s imports internal/command: only main starts it", name)
			case strings.HasPrefix(dep, "internal/store/") && name != "internal/command" && name != "internal/bench" && !forTests(name):
				t.Errorf("%s imports %s: only internal/command chooses a store, and internal/bench measures one in a directory", name, dep)
			case forTests(dep) && !forTests(name):
				t.Errorf("%s imports %s, which is for tests", name, dep)
			}
		}
		if len(p.CgoFiles) > 0 {
			t.Errorf("%s uses cgo: the program is one static file", name)
		}
		for _, path := range slices.Concat(p.TestImports, p.XTestImports) {
			if path == module+"/internal/command" && name != "internal/command" {
				t.Errorf("tests of %s import internal/command: run the program instead", name)
			}
		}
	}
}

// forTests reports whether a package is there for tests only.
func forTests(name string) bool {
	return slices.Contains([]string{"internal/browsertest", "internal/promtest", "internal/redistest", "internal/s3test", "internal/store/storetest"}, name)
}

// The sizes in which code stays readable, and who may go beyond, with the reason.
const (
	maxFileLines = 400
	maxFuncLines = 80
)

var (
	longFiles = map[string]string{}
	longFuncs = map[string]string{}
)

func TestSizes(t *testing.T) {
	files := 0
	for name, p := range list(t) {
		sources, err := filepath.Glob(filepath.Join(p.Dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, source := range sources {
			if strings.HasSuffix(source, "_test.go") {
				continue
			}
			files++
			checkSizes(t, name+"/"+filepath.Base(source), source)
		}
	}
	if files < 50 {
		t.Errorf("only %d files were looked at", files)
	}
}

func checkSizes(t testing.TB, name, source string) {
	t.Helper()
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, source, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	if n := set.File(f.Pos()).LineCount(); n > maxFileLines && longFiles[name] == "" {
		t.Errorf("%s has %d lines, the limit is %d: what in it is another subject?", name, n, maxFileLines)
	}
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Body == nil {
			continue
		}
		lines := set.Position(fn.End()).Line - set.Position(fn.Pos()).Line + 1
		if lines > maxFuncLines && longFuncs[fmt.Sprintf("%s %s", name, fn.Name.Name)] == "" {
			t.Errorf("%s: %s has %d lines, the limit is %d", name, fn.Name.Name, lines, maxFuncLines)
		}
	}
}
