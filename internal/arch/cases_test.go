package arch_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// casesListed is how many cases docs/cases.md has.
const casesListed = 37

// tests lists the names of all tests of the module.
func tests(t testing.TB, root string) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Test") {
				names[f.Name.Name] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

var (
	caseRow  = regexp.MustCompile(`(?m)^\| (\d+) \|[^|\n]+\|([^|\n]+)\|[^|\n]+\|$`)
	testName = regexp.MustCompile("`(Test\\w+)`")
	ofCase   = regexp.MustCompile(`^TestCase(\d\d)`)
)

// The table of docs/cases.md names tests that exist, for every case, and every test that was
// written for a case stands in its row.
func TestTheTableOfCasesIsTrue(t *testing.T) {
	text, err := os.ReadFile("../../docs/cases.md")
	if err != nil {
		t.Fatal(err)
	}
	there := tests(t, "../..")
	rows := map[string][]string{}
	for i, row := range caseRow.FindAllStringSubmatch(string(text), -1) {
		if row[1] != strconv.Itoa(i+1) {
			t.Errorf("row %d has the number %s", i+1, row[1])
		}
		for _, name := range testName.FindAllStringSubmatch(row[2], -1) {
			rows[row[1]] = append(rows[row[1]], name[1])
			if !there[name[1]] {
				t.Errorf("case %s: there is no test %s", row[1], name[1])
			}
		}
		if len(rows[row[1]]) == 0 {
			t.Errorf("case %s has no test", row[1])
		}
	}
	if len(rows) != casesListed {
		t.Errorf("%d cases are listed, want %d", len(rows), casesListed)
	}
	for name := range there {
		if m := ofCase.FindStringSubmatch(name); m != nil && !slices.Contains(rows[strings.TrimLeft(m[1], "0")], name) {
			t.Errorf("%s is not in the row of its case", name)
		}
	}
}
