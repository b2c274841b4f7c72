package main

import (
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"
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
	code := l.m.Run()
	err := goleak.Find()
	for late := time.Now().Add(time.Minute); err != nil && time.Now().Before(late); { // some of them are just ending
		err = goleak.Find()
	}
	if err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}
