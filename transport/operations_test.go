package transport

import (
	"os"
	"regexp"
	"slices"
	"testing"
)

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
		if _, there := contract[name]; !there && name != "pyrycode_relay_build_info" {
			t.Errorf("docs/operations.md explains %s, which is no series of the relay's", name)
		}
	}
}
