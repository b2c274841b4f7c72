package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestProductionLooksAtWhoRunsIt: root is refused, and whoever may do more than bind low ports. Each is told what to do.
func TestProductionLooksAtWhoRunsIt(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can be somebody else")
	}
	const chown, netBindService = 0, 10
	program := forAnybody(t)
	addr, end, err := taken()
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	nobody := &syscall.Credential{Uid: 65532, Gid: 65532}
	for who, c := range map[string]struct {
		as   *syscall.SysProcAttr
		exit int
		want string
	}{
		"root":   {&syscall.SysProcAttr{}, exitConfig, "--production as root: want a user of its own; start it with systemd's User= or `setpriv --reuid`"},
		"nobody": {&syscall.SysProcAttr{Credential: nobody}, exitFailure, "listen for the admin"},
		"nobody, who may bind low ports": {
			&syscall.SysProcAttr{Credential: nobody, AmbientCaps: []uintptr{netBindService}}, exitFailure, "listen for the admin",
		},
		"nobody, who may do more": {
			&syscall.SysProcAttr{Credential: nobody, AmbientCaps: []uintptr{netBindService, chown}}, exitConfig,
			"--production with Linux capabilities 0x1 beyond CAP_NET_BIND_SERVICE: want them dropped, with systemd's CapabilityBoundingSet=, `setpriv --ambient-caps=-all`, or `setcap -r`",
		},
	} {
		// Whom production lets through gets no further than an address that is taken.
		relay := exec.Command(program, "--production", "--insecure-listen", "127.0.0.1:0", "--admin-listen", addr)
		relay.SysProcAttr, relay.Dir = c.as, "/"
		out, err := relay.CombinedOutput()
		if relay.ProcessState == nil {
			t.Logf("%s cannot be started here: %v", who, err)
		} else if relay.ProcessState.ExitCode() != c.exit || !strings.Contains(string(out), c.want) {
			t.Errorf("%s: %v %s, want %d %q", who, err, out, c.exit, c.want)
		}
	}
}

// forAnybody is the relay where every user can run it.
func forAnybody(t *testing.T) string {
	t.Helper()
	program, err := exec.LookPath("pyrycode-relay")
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "pyrycode-relay-") //nolint:usetesting // what t.TempDir makes lies in a directory that is root's alone
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	program = filepath.Join(dir, "pyrycode-relay")
	if err := os.WriteFile(program, b, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, program} {
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return program
}
