package leak

import (
	"os"
	"testing"
	"time"
)

func TestMain(m *testing.M) { os.Exit(Main(m)) }

type tests func() int

func (t tests) Run() int { return t() }

func TestWhoStaysBehindIsFound(t *testing.T) {
	before := patience
	defer func() { patience = before }()
	patience = 0
	stays := make(chan struct{})
	t.Cleanup(func() { close(stays) })
	for code, want := range map[int]int{0: 1, 3: 3} {
		if got := Main(tests(func() int { go func() { <-stays }(); return code })); got != want {
			t.Errorf("tests that end with %d: %d, want %d", code, got, want)
		}
	}
}

// TestWhoIsEndingMayEnd, though it takes longer than goleak waits.
func TestWhoIsEndingMayEnd(t *testing.T) {
	if got := Main(tests(func() int { go func() { <-time.After(2 * time.Second) }(); return 0 })); got != 0 {
		t.Errorf("exit code %d", got)
	}
}
