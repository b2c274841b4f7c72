package transport

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"go.yaml.in/yaml/v3"
)

// TestOperationsNameWhatThereIs: each metric of the dashboard and of the alert rules exists, and each label has each value that they ask
// for. One that does not would be an empty panel, or an alert that is silent for ever.
func TestOperationsNameWhatThereIs(t *testing.T) {
	families := run(t, testConfig()).scrape()
	asked := map[string]bool{}
	for where, expr := range expressions(t) {
		if !strings.Contains(expr, "up{") && !strings.Contains(expr, namespace) && !strings.Contains(expr, "process_") && !strings.Contains(expr, "go_") {
			t.Errorf("%s: asks for nothing of the relay: %s", where, expr)
		}
		for _, m := range selector.FindAllStringSubmatch(expr, -1) {
			f := family(families, m[1])
			asked[f.GetName()] = true
			switch {
			case m[1] == "up": // Prometheus' own
			case f == nil:
				t.Errorf("%s: there is no metric %s", where, m[1])
			default:
				for _, pair := range matcher.FindAllStringSubmatch(m[2], -1) {
					if want := pair[1] + "=" + pair[2]; !slices.ContainsFunc(strings.FieldsFunc(labels(f), func(r rune) bool { return r == ' ' || r == ',' }), func(l string) bool { return l == want }) {
						t.Errorf("%s: no series of %s has %s", where, m[1], want)
					}
				}
			}
		}
	}
	for name := range families {
		if strings.HasPrefix(name, namespace) && !asked[name] {
			t.Errorf("%s is neither in the dashboard nor in an alert", name)
		}
	}
}

var (
	// selector is the name of a metric, and what is in braces behind it.
	selector = regexp.MustCompile(`\b((?:pyrycode_relay|process|go)_\w+|up)\b(?:\{([^}]*)\})?`)
	matcher  = regexp.MustCompile(`(\w+)="([^"$]*)"`)
)

// family is that of a name, be it of a histogram's part.
func family(families map[string]*dto.MetricFamily, name string) *dto.MetricFamily {
	if f := families[name]; f != nil {
		return f
	}
	for _, part := range []string{"_bucket", "_sum", "_count"} {
		if whole, ok := strings.CutSuffix(name, part); ok && families[whole].GetType() == dto.MetricType_HISTOGRAM {
			return families[whole]
		}
	}
	return nil
}

// expressions are all of docs/operations, by where they stand.
func expressions(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	var board struct {
		Panels []struct {
			Title, Type string
			Targets     []struct{ Expr, RefID string }
		}
	}
	operations(t, "dashboard.json", func(b []byte) error { return json.Unmarshal(b, &board) })
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			all["dashboard.json: "+p.Title+" "+target.RefID] = target.Expr
		}
		if len(p.Targets) == 0 && p.Type != "row" {
			t.Errorf("dashboard.json: %s is empty", p.Title)
		}
	}
	var rules struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	operations(t, "alerts.yaml", func(b []byte) error {
		d := yaml.NewDecoder(strings.NewReader(string(b)))
		d.KnownFields(true)
		return d.Decode(&rules)
	})
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			all["alerts.yaml: "+r.Alert] = r.Expr
			if r.Labels["severity"] == "" || r.Annotations["summary"] == "" || r.Annotations["action"] == "" {
				t.Errorf("alerts.yaml: %s does not say how bad it is, or what to do", r.Alert)
			}
		}
	}
	if len(all) < 40 {
		t.Errorf("only %d expressions", len(all))
	}
	return all
}

func operations(t *testing.T, name string, parse func([]byte) error) {
	t.Helper()
	b, err := os.ReadFile("../docs/operations/" + name)
	if err == nil {
		err = parse(b)
	}
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// TestEachMetricIsExplained: docs/operations.md says of each series what it means, and speaks of none that is not there.
func TestEachMetricIsExplained(t *testing.T) {
	page, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	explained := regexp.MustCompile(`pyrycode_relay_[a-z_]+[a-z]`).FindAllString(string(page), -1)
	for name := range contract {
		if !slices.Contains(explained, name) {
			t.Errorf("docs/operations.md does not explain %s", name)
		}
	}
	for _, name := range explained {
		if _, there := contract[name]; !there && name != namespace+"build_info" {
			t.Errorf("docs/operations.md explains %s, which is no series of the relay's", name)
		}
	}
}
