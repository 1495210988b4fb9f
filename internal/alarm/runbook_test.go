package alarm_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"rqvault/internal/alarm"
)

// Whoever follows the link of an alarm finds its section.
func TestEachAlarmHasItsSectionInTheRunbook(t *testing.T) {
	page, err := os.ReadFile("../../docs/runbook.md")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := os.ReadFile("../../deploy/prometheus/rqvault.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	wanted := map[string]bool{}
	for _, n := range alarm.Names() {
		wanted[string(n)] = true
	}
	for _, m := range regexp.MustCompile(`runbook\.md#([a-z-]+)`).FindAllStringSubmatch(string(rules), -1) {
		wanted[m[1]] = true
	}
	if len(wanted) < 20 {
		t.Errorf("only %d alarms are known", len(wanted))
	}
	for name := range wanted {
		if !strings.Contains(string(page), "\n### "+name+"\n") {
			t.Errorf("docs/runbook.md has no section %s", name)
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^### (.*)$`).FindAllStringSubmatch(string(page), -1) {
		if !wanted[m[1]] {
			t.Errorf("the section %s of docs/runbook.md is about no alarm", m[1])
		}
	}
}
