package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pyrycode/pyrycode-relay/transport"
)

// ownRelayMain is the relay that `claimstorm run` starts in tests: this one, and it says so as the real one does. It wants to be
// started with flags alone.
func ownRelayMain() {
	for _, v := range os.Environ() {
		if strings.HasPrefix(v, "PYRYCODE_RELAY_") {
			fmt.Fprintln(os.Stderr, "started with", v)
			os.Exit(2)
		}
	}
	fmt.Fprintln(os.Stderr, "started as", os.Getpid())
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	cfg := ourConfig(quickTime)
	cfg.Started = func(l, admin net.Addr) { fmt.Printf("listens on http://%s\npages at http://%s/\n", l, admin) }
	if err := transport.Run(ctx, context.Background(), cfg); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// TestARelayThatWasStartedEndsWithUs, however we end. It is the one that was named, as any other path is, and knows no settings that are
// meant for another one.
func TestARelayThatWasStartedEndsWithUs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		end  os.Signal
		says string
	}{{os.Interrupt, "It was interrupted"}, {os.Kill, ""}} {
		if c.end == os.Kill && runtime.GOOS != "linux" {
			continue
		}
		dir := t.TempDir()
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(self, filepath.Join(dir, "pyrycode-relay")); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(self, "run", "--relay", "pyrycode-relay")
		cmd.Args[0], cmd.Dir, cmd.Env = "claimstorm", dir, append(os.Environ(), "PYRYCODE_RELAY_DOMAIN=example.org")
		var stdout bytes.Buffer
		cmd.Stdout = &stdout
		// The pipe is the relay's, too: it ends with the last of the two.
		stderr, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(stderr)
		first, err := lines.ReadString('\n')
		var pid int
		if _, scanned := fmt.Sscanf(first, "started as %d", &pid); err != nil || scanned != nil {
			t.Fatalf("the relay says %q, %v", first, err)
		}
		relay, err := os.FindProcess(pid)
		if err != nil {
			t.Fatal(err)
		}
		hung := time.AfterFunc(time.Minute, func() { _ = relay.Kill() })
		_ = cmd.Process.Signal(c.end)
		_, _ = io.Copy(io.Discard, lines)
		if !hung.Stop() {
			t.Errorf("%v: the relay lives on", c.end)
		}
		_ = cmd.Wait()
		if !strings.Contains(stdout.String(), c.says) {
			t.Errorf("%v: it does not say %q\n%s", c.end, c.says, stdout.String())
		}
	}
}
