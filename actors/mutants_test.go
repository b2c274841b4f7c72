//go:build mutants

package actors

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// TestMutants applies each patch of testdata/mutants to a copy of the module. Each is a plausible mistake; the copy must build, and the
// tests that the patch names must be red. Some are so by hanging: meanwhile another patch is tried in another copy.
func TestMutants(t *testing.T) {
	patches, err := filepath.Glob("testdata/mutants/*.patch")
	if err != nil || len(patches) < 15 {
		t.Fatalf("%d patches, %v: want at least 15", len(patches), err)
	}
	copies := make(chan string, runtime.GOMAXPROCS(0))
	for range cap(copies) {
		copies <- copyOfModule(t)
	}
	for _, patch := range patches {
		t.Run(strings.TrimSuffix(filepath.Base(patch), ".patch"), func(t *testing.T) {
			t.Parallel()
			module := <-copies
			defer func() { copies <- module }()
			b, err := os.ReadFile(patch)
			if err != nil {
				t.Fatal(err)
			}
			says, red := header(b)
			if red == nil {
				t.Fatal("no line `# red: PACKAGE -run TEST`")
			}
			apply(t, module, b)
			defer apply(t, module, b, "-R")
			out, err := run(module, "go", append([]string{"test", "-count=1", "-vet=off", "-timeout=1m"}, red...)...)
			switch {
			case err == nil:
				t.Fatalf("SURVIVES: %s\n%s", says, out)
			case strings.Contains(out, "[build failed]") || strings.Contains(out, "[setup failed]"):
				t.Fatalf("does not build:\n%s", out)
			}
			t.Log(says)
		})
	}
}

func copyOfModule(t *testing.T) (module string) {
	module = t.TempDir()
	for _, part := range []string{"go.mod", "go.sum", "actors", "cmd", "docs", "messages", "transport"} { // what else lies there may come and go
		if err := copyAll(filepath.Join(module, part), filepath.Join("..", part)); err != nil {
			t.Fatal(err)
		}
	}
	return module
}

func copyAll(to, from string) error {
	if b, err := os.ReadFile(from); err == nil {
		return os.WriteFile(to, b, 0o600)
	}
	return os.CopyFS(to, os.DirFS(from))
}

// header is what a patch says of itself before its first diff.
func header(b []byte) (says string, red []string) {
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if args, ok := strings.CutPrefix(line, "# red: "); ok {
			return says, strings.Fields(args)
		}
		says = strings.TrimSpace(says + " " + strings.TrimPrefix(line, "# "))
	}
	return says, nil
}

func apply(t *testing.T, dir string, patch []byte, args ...string) {
	t.Helper()
	cmd := exec.Command("git", append([]string{"apply", "--whitespace=nowarn"}, args...)...)
	cmd.Dir, cmd.Stdin = dir, bytes.NewReader(patch)
	// Not the checkout's: the copy is to be patched, whatever is around it.
	cmd.Env = append(os.Environ(), "GIT_DIR=/nonexistent")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git apply %v: %v\n%s", args, err, out)
	}
}

func run(dir, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}
