package main

import (
	"flag"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/pyrycode/pyrycode-relay/transport/measure/leak"
)

// TestScripts runs the command as a shell sees it.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{Dir: "testdata/script"})
}

// TestMain also serves as the command for scripts, and looks for goroutines that nobody ended.
func TestMain(m *testing.M) {
	testscript.Main(leakless{m}, map[string]func(){"claimstorm": main, "pyrycode-relay": ownRelayMain})
}

type leakless struct{ m *testing.M }

func (l leakless) Run() int {
	_ = flag.Set("test.parallel", "6") // they wait, for the most part
	return leak.Main(l.m)
}
