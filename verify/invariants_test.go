package verify_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"rqvault/verify"
)

// invariantsDoc is where people read about the invariants.
const invariantsDoc = "../docs/invariants.md"

func TestInvariantsAreDocumented(t *testing.T) {
	text, err := os.ReadFile(invariantsDoc)
	if err != nil {
		t.Fatal(err)
	}
	var table []string
	for _, inv := range verify.Invariants {
		repair := inv.Repair
		if repair == "" {
			repair = "–"
		}
		table = append(table, fmt.Sprintf("| `%s` | %s | %s | %s |", inv.Name, inv.Severity, inv.Means, repair))
	}
	if want := strings.Join(table, "\n") + "\n"; !strings.Contains(string(text), want) {
		t.Errorf("the table of %s is not that of the code, which is:\n%s", invariantsDoc, want)
	}
}
