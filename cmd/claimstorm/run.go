package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/pyrycode/pyrycode-relay/cmd/claimstorm/report"
)

// quick tries everything, each for a short while.
type quick struct {
	URL   string `placeholder:"URL" help:"The relay; without it, one is started, with short times, and ended again."`
	CA    string `placeholder:"FILE" type:"existingfile" help:"Trust the certificates in this file, beside the system's."`
	Relay string `placeholder:"PATH" help:"The relay to start; without it, the pyrycode-relay beside this program."`
	Seed  uint64 `placeholder:"N" help:"Repeats the choices of the run that named it; 0 draws one."`
	HTML  string `name:"html" placeholder:"PREFIX" help:"Write a page of each part to PREFIX-storm.html, PREFIX-churn.html and PREFIX-relay.html."`

	timing `embed:"" group:"What the relay was started with, where --url names it"`
}

// Validate is called by kong.
func (c *quick) Validate() error {
	if c.URL == "" {
		return nil
	}
	if c.Relay != "" {
		return errors.New("--relay and --url: want one of them")
	}
	return (&load{target: target{URL: c.URL}, timing: c.timing}).validate()
}

// quickTime is the grace and the probe timeout of a relay that is started to be tried: short, so that a minute shows both.
const quickTime = 2 * time.Second

func (c *quick) run(e *environment) int {
	at := target{URL: c.URL, CA: c.CA}
	if c.URL == "" {
		r, err := startRelay(c.relayPath())
		if err != nil {
			_ = e.usage(err)
			return exitUnreachable
		}
		defer r.stop()
		e.relayPath = r.path
		at.URL, at.Admin = r.url, r.admin
		c.Grace, c.ProbeTimeout = quickTime, quickTime
	}
	worst := 0
	for _, part := range [][]string{
		{"storm", "--claimants", "50", "--ids", "10", "--rounds", "10"},
		{"churn", "--clients", "50", "--ids", "10", "--duration", "10s"},
		{"relay", "--pairs", "10", "--rate", "200", "--duration", "5s"},
	} {
		_, _ = fmt.Fprintf(e.stdout, "\n== claimstorm %s\n", strings.Join(part, " "))
		parsed, err := parse(part)
		if err != nil {
			return e.usage(err)
		}
		l := parsed.(loader).shared()
		l.target, l.timing, l.Seed = at, c.timing, c.Seed
		if c.HTML != "" {
			l.HTML = c.HTML + "-" + part[0] + ".html"
		}
		if code := parsed.run(e); worse(code, worst) {
			worst = code
		}
		if e.ctx.Err() != nil {
			break
		}
	}
	return worst
}

// worse: a failed check outweighs a relay that is gone, and that a run that proves nothing.
func worse(code, than int) bool {
	rank := map[int]int{report.Pass.ExitCode(): 0, report.Void.ExitCode(): 1, report.Gone.ExitCode(): 2, exitUsage: 3, report.Fail.ExitCode(): 4}
	return rank[code] > rank[than]
}

// relayPath is the relay that was named, or the one beside this program.
func (c *quick) relayPath() string {
	if c.Relay != "" {
		return c.Relay
	}
	self, err := os.Executable()
	if err != nil {
		return "pyrycode-relay"
	}
	return filepath.Join(filepath.Dir(self), "pyrycode-relay")
}

// ownRelay is a relay in a process of its own.
type ownRelay struct {
	path, url, admin string
	cmd              *exec.Cmd
	drained          chan struct{} // closed when nothing more comes from it
}

const (
	startWithin = time.Minute      // only a relay that hangs needs it
	stopWithin  = 15 * time.Second // its drain timeout, and some
)

// startRelay starts a relay on ports of the system's choice, which it says on its standard output.
func startRelay(path string) (*ownRelay, error) {
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("start a relay: %w; build it (make build), name one by --relay, or a running one by --url", err)
	}
	program, err := filepath.Abs(path) // a bare name is not one to be looked for in $PATH
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	cmd := exec.CommandContext(context.Background(), program, "--insecure-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0",
		"--journal", "1000000", "--log-level", "error", "--grace", quickTime.String(), "--probe-timeout", quickTime.String())
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "PYRYCODE_RELAY_") }) // those are for another one
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = childsAttr()
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	r := &ownRelay{path: path, cmd: cmd, drained: make(chan struct{})}
	hung := time.AfterFunc(startWithin, func() { _ = cmd.Process.Kill() })
	lines := bufio.NewReader(out)
	for r.url == "" || r.admin == "" {
		line, err := lines.ReadString('\n')
		if err != nil {
			_ = cmd.Wait()
			return nil, fmt.Errorf("start %s: it ended, or did not say within %s where it listens", path, startWithin)
		}
		if _, addr, ok := strings.Cut(strings.TrimSpace(line), "http://"); ok {
			if r.url == "" { // it names where it serves clients first, and then its pages
				r.url = "ws://" + addr
			} else {
				r.admin = "http://" + strings.TrimSuffix(addr, "/")
			}
		}
	}
	hung.Stop()
	go func() {
		_, _ = io.Copy(io.Discard, lines)
		close(r.drained)
	}()
	return r, nil
}

// stop ends it as an operator would, and by force if that does not help.
func (r *ownRelay) stop() {
	_ = r.cmd.Process.Signal(syscall.SIGTERM)
	hung := time.AfterFunc(stopWithin, func() { _ = r.cmd.Process.Kill() })
	<-r.drained
	_ = r.cmd.Wait()
	hung.Stop()
}
