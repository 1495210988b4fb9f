package watch_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"testing"
)

// panel is what a test has to know of a dashboard's panel.
type panel struct {
	ID          int
	Type, Title string
	Datasource  struct{ Type, UID string }
	GridPos     struct{ X, Y, W, H int }
	FieldConfig struct{ Defaults struct{ Unit string } }
	Targets     []struct {
		RefID, Expr, LegendFormat string
		Datasource                struct{ Type, UID string }
	}
}

type dashboard struct {
	Title, UID    string
	SchemaVersion int
	Templating    struct {
		List []struct{ Name, Type, Definition string }
	}
	Panels []panel
}

func load(t testing.TB) dashboard {
	t.Helper()
	var d dashboard
	if err := json.Unmarshal([]byte(read(t, "../../deploy/grafana/rqvault.json")), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

var variable = regexp.MustCompile(`\$\{?(\w+)\}?`)

func TestTheDashboardIsWhole(t *testing.T) {
	d := load(t)
	if d.Title == "" || d.UID == "" || d.SchemaVersion < 30 || len(d.Panels) < 20 {
		t.Fatalf("%q, %q, schema %d, %d panels", d.Title, d.UID, d.SchemaVersion, len(d.Panels))
	}
	known := []string{"__rate_interval"}
	for _, v := range d.Templating.List {
		known = append(known, v.Name)
		if v.Type == "query" && !regexp.MustCompile(`^label_values\(rqvault_age_limit_seconds, source\)$`).MatchString(v.Definition) {
			t.Errorf("the variable %s asks for %s", v.Name, v.Definition)
		}
	}
	if !slices.Contains(known, "datasource") || !slices.Contains(known, "source") {
		t.Errorf("variables: %v", known)
	}
	ids := map[int]bool{}
	cells := map[string]string{}
	for _, p := range d.Panels {
		if p.ID == 0 || ids[p.ID] || p.Title == "" {
			t.Errorf("panel %d %q has no id of its own, or no title", p.ID, p.Title)
		}
		ids[p.ID] = true
		g := p.GridPos
		if g.X < 0 || g.W < 1 || g.H < 1 || g.X+g.W > 24 {
			t.Errorf("%s stands outside: %+v", p.Title, g)
		}
		for x := g.X; x < g.X+g.W; x++ {
			for y := g.Y; y < g.Y+g.H; y++ {
				cell := fmt.Sprint(x, ",", y)
				if other := cells[cell]; other != "" {
					t.Fatalf("%s covers %s", p.Title, other)
				}
				cells[cell] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		if !slices.Contains([]string{"stat", "timeseries", "table"}, p.Type) || len(p.Targets) == 0 || p.FieldConfig.Defaults.Unit == "" || p.Datasource.UID != "${datasource}" {
			t.Errorf("%s is not whole: %s, %d targets", p.Title, p.Type, len(p.Targets))
		}
		refs := map[string]bool{}
		for _, q := range p.Targets {
			if refs[q.RefID] || q.RefID == "" || q.Expr == "" || q.Datasource.UID != "${datasource}" || q.Datasource.Type != "prometheus" {
				t.Errorf("%s: target %+v", p.Title, q)
			}
			refs[q.RefID] = true
			for _, v := range variable.FindAllStringSubmatch(q.Expr, -1) {
				if !slices.Contains(known, v[1]) {
					t.Errorf("%s: no variable %s", p.Title, v[1])
				}
			}
		}
	}
}
