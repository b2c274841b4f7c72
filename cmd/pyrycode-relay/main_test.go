package main

import (
	"bufio"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/pyrycode/pyrycode-relay/transport/measure/port"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"pyrycode-relay": main})
}

// TestScripts runs the command as a shell sees it.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/script", Setup: func(e *testscript.Env) error {
		addr, end, err := taken()
		if err != nil {
			return err
		}
		e.Defer(end)
		e.Setenv("TAKEN", addr)
		return nil
	}})
}

// taken is an address of loopback where somebody listens until end is called, and nobody else can.
func taken() (addr string, end func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	return l.Addr().String(), func() { l.Close() }, nil
}

// TestExcessCapabilities: what a process may raise at any time counts as what it has.
func TestExcessCapabilities(t *testing.T) {
	for status, want := range map[string]uint64{
		"": 0,
		"CapInh:\t0000000000002000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n": 0,
		"CapInh:\t0000000000000400\nCapPrm:\t0000000000000400\nCapEff:\t0000000000000400\n": 0,
		"CapInh:\t0000000000000000\nCapPrm:\t0000000000002400\nCapEff:\t0000000000000000\n": 0x2000,
		"CapInh:\t0000000000000000\nCapPrm:\t000001ffffffffff\nCapEff:\t000001ffffffffff\n": 0x1fffffffbff,
	} {
		if got := excessCapabilities(status); got != want {
			t.Errorf("%q: %#x, want %#x", status, got, want)
		}
	}
}

// TestReadmeNamesEveryFlag with its default, and no other.
func TestReadmeNamesEveryFlag(t *testing.T) {
	b, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	said := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `--([a-z-]+)` \\| (?:`([^`]*)`)? *\\|").FindAllStringSubmatch(string(b), -1) {
		said[m[1]] = m[2]
	}
	var f flags
	parser := kong.Must(&f, kong.Vars{"version": "x"})
	for _, flag := range parser.Model.Flags {
		if flag.Name == "help" {
			continue
		}
		want := flag.Default
		if flag.IsBool() && flag.Name != "version" {
			want = "false"
		}
		if got, ok := said[flag.Name]; !ok || got != want {
			t.Errorf("README.md says --%s has the default %q; it is %q", flag.Name, got, want)
		}
		delete(said, flag.Name)
	}
	for name := range said {
		t.Errorf("README.md names --%s, which does not exist", name)
	}
}

// started is a relay in a process of its own, and claimstorm beside it.
type started struct {
	cmd         *exec.Cmd
	out         *bufio.Reader
	addr, admin string
}

// startRelay starts it, where it will be the only one to listen, and where nobody does when it has ended.
func startRelay(t *testing.T, flags ...string) *started {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "bin") + string(filepath.Separator)
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", bin, "../...").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s := &started{cmd: exec.Command(bin+"pyrycode-relay", append([]string{"--insecure-listen", port.Held(t), "--admin-listen", port.Held(t), "--probe-timeout", "1h"}, flags...)...)}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.cmd.Process.Kill(); _ = s.cmd.Wait() })
	s.out = bufio.NewReader(out)
	line := s.line(t, "listens on")
	s.addr = line[strings.Index(line, "http://")+len("http://"):]
	line = s.line(t, "its pages are at")
	s.admin = strings.TrimSuffix(line[strings.Index(line, "http://"):], "/")
	return s
}

// line waits for a line with these words.
func (s *started) line(t *testing.T, words string) string { return lineOf(t, s.out, words) }

func lineOf(t *testing.T, r *bufio.Reader, words string) string {
	t.Helper()
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("no line with %q: %v", words, err)
		}
		if strings.Contains(line, words) {
			return strings.TrimSpace(line)
		}
	}
}

// claim runs claimstorm as a binary.
func (s *started) claim(t *testing.T, args ...string) (*exec.Cmd, *bufio.Reader) {
	t.Helper()
	return s.claimstorm(t, append([]string{"claim", "--within", "50ms"}, args...)...)
}

func (s *started) claimstorm(t *testing.T, args ...string) (*exec.Cmd, *bufio.Reader) {
	t.Helper()
	bin := filepath.Join(filepath.Dir(s.cmd.Path), "claimstorm")
	cmd := exec.Command(bin, append(args, "--url", "ws://"+s.addr)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return cmd, bufio.NewReader(out)
}

func exitCode(cmd *exec.Cmd) int {
	_ = cmd.Wait()
	return cmd.ProcessState.ExitCode()
}

// asks runs a command of the operator's, and gives what it prints.
func (s *started) asks(t *testing.T, args ...string) (out, complaints string, code int) {
	t.Helper()
	cmd := exec.Command(s.cmd.Path, append(args, "--url", s.admin)...)
	var said, complained strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &complained
	_ = cmd.Run()
	return said.String(), complained.String(), cmd.ProcessState.ExitCode()
}

// TestOperator follows a slot from the terminal, throws its holder out, and replays all of it.
func TestOperator(t *testing.T) {
	dir := t.TempDir()
	record, token := filepath.Join(dir, "record"), filepath.Join(dir, "token")
	s := startRelay(t, "--admin-token-file", token, "--record", record)
	follower := exec.Command(s.cmd.Path, "claims", "--follow", "--url", s.admin)
	followed, err := follower.StdoutPipe()
	if err != nil || follower.Start() != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = follower.Process.Kill(); _ = follower.Wait() })
	news := bufio.NewReader(followed)
	lineOf(t, news, "REASON")
	_, said := s.claim(t, "--id", "home")
	lineOf(t, said, "holding")
	lineOf(t, news, "granted")
	if out, _, code := s.asks(t, "slots"); code != 0 || !regexp.MustCompile(`(?m)^home +held +\S+ +\S+ +e1 +0 +0 +0 +server-home-[0-9a-f]{8}$`).MatchString(out) {
		t.Errorf("slots: %d\n%s", code, out)
	}
	wrong := filepath.Join(dir, "wrong")
	_ = os.WriteFile(wrong, []byte("wrong\n"), 0o600)
	if _, why, code := s.asks(t, "release", "home", "--admin-token-file", wrong); code != 1 || !strings.Contains(why, "401") {
		t.Errorf("release with another token: %d, %s", code, why)
	}
	if _, why, code := s.asks(t, "release", "nobody", "--admin-token-file", token); code != 1 || !strings.Contains(why, "nobody holds that slot") {
		t.Errorf("release of a free slot: %d, %s", code, why)
	}
	if out, why, code := s.asks(t, "release", "home", "--admin-token-file", token, "--json"); code != 0 || !strings.Contains(out, `"asked":"operator_release"`) {
		t.Errorf("release: %d, %s%s", code, out, why)
	}
	lineOf(t, said, "closed (1012")
	lineOf(t, news, "operator_release")
	if out, _, code := s.asks(t, "claims", "--server-id", "home", "--decided", "released", "--json"); code != 0 || strings.Count(out, "\n") != 1 || strings.Contains(out, "\x1b") {
		t.Errorf("claims: %d\n%s", code, out)
	}
	if info, err := os.Stat(token); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the token: %v, %v", info, err)
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	if code := exitCode(s.cmd); code != 0 {
		t.Errorf("after SIGTERM the relay exits with %d", code)
	}
	if _, err := os.Stat(token); !os.IsNotExist(err) {
		t.Errorf("the token is still there: %v", err)
	}
	page := filepath.Join(dir, "page.html")
	out, err := exec.Command(s.cmd.Path, "replay", record, "--server-id", "home", "--html", page).Output()
	if drawn, _ := os.ReadFile(page); err != nil || !strings.Contains(string(out), "operator_release") || !strings.Contains(string(drawn), "operator") {
		t.Errorf("replay: %v\n%s", err, out)
	}
	b, _ := os.ReadFile(record)
	_ = os.WriteFile(record, []byte(strings.Replace(string(b), `"decided":"granted"`, `"decided":"refused"`, 1)), 0o600)
	again := exec.Command(s.cmd.Path, "replay", record, "--until", "1")
	if out, _ := again.CombinedOutput(); again.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), "record:2: another decision") {
		t.Errorf("replay of another story: %s", out)
	}
}

// TestWhoWatchesOutlivesTheRelay: `claims --follow` and `slots --watch` go on with the relay that comes after it.
func TestWhoWatchesOutlivesTheRelay(t *testing.T) {
	dir := t.TempDir()
	s := startRelay(t, "--admin-token-file", filepath.Join(dir, "token"))
	var watchers []*bufio.Reader
	for _, args := range [][]string{{"claims", "--follow"}, {"slots", "--watch"}} {
		cmd := exec.Command(s.cmd.Path, append(args, "--url", s.admin)...)
		out, err := cmd.StdoutPipe()
		if err != nil || cmd.Start() != nil {
			t.Fatal(args, err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		watchers = append(watchers, bufio.NewReader(out))
		lineOf(t, watchers[len(watchers)-1], "SERVER-ID")
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	if code := exitCode(s.cmd); code != 0 {
		t.Fatalf("after SIGTERM the relay exits with %d", code)
	}
	if _, why, code := s.asks(t, "slots", "--watch"); code != 1 || !strings.Contains(why, "is the relay running") {
		t.Errorf("whoever begins while it is away: %d, %s", code, why)
	}
	again := exec.Command(s.cmd.Path, "--insecure-listen", s.addr, "--admin-listen", strings.TrimPrefix(s.admin, "http://"), "--admin-token-file", filepath.Join(dir, "token"))
	out, err := again.StdoutPipe()
	if err != nil || again.Start() != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = again.Process.Kill(); _ = again.Wait() })
	lineOf(t, bufio.NewReader(out), "listens on")
	s.claim(t, "--id", "next")
	for _, w := range watchers {
		lineOf(t, w, "server-next-")
	}
	if full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0); err == nil { // where there is one
		defer full.Close()
		for _, args := range [][]string{{"claims"}, {"claims", "--json"}, {"claims", "--follow"}, {"slots"}, {"slots", "--json"}, {"slots", "--watch"}} {
			cmd := exec.Command(s.cmd.Path, append(args, "--url", s.admin)...)
			cmd.Stdout = full
			if _ = cmd.Run(); cmd.ProcessState.ExitCode() != 1 {
				t.Errorf("%v onto a full disk: exit code %d, want 1", args, cmd.ProcessState.ExitCode())
			}
		}
	}
}

// TestFirstSession is the README's: claim, be refused, give back, claim again, have a phone's frame come back, and shut the
// relay down.
func TestFirstSession(t *testing.T) {
	s := startRelay(t, "--admin-token-file", filepath.Join(t.TempDir(), "token"))
	first, said := s.claim(t, "--id", "home")
	lineOf(t, said, "holding")
	second, why := s.claim(t, "--id", "home")
	lineOf(t, why, `refused (4409 "server-id already claimed")`)
	if code := exitCode(second); code != 1 {
		t.Errorf("a refused claim exits with %d", code)
	}
	_ = first.Process.Signal(syscall.SIGINT)
	lineOf(t, said, "giving")
	if code := exitCode(first); code != 0 {
		t.Errorf("a claim that was given back exits with %d", code)
	}
	third, said := s.claim(t, "--id", "home", "--echo")
	lineOf(t, said, "holding")
	phone, answers := s.claimstorm(t, "phone", "--id", "home", `{"hello":"world"}`, `[1, 2]`)
	for _, want := range []string{`{"hello":"world"}`, `[1, 2]`} {
		if got, _ := answers.ReadString('\n'); got != want+"\n" {
			t.Errorf("the phone prints %q, want %s", got, want)
		}
	}
	if code := exitCode(phone); code != 0 {
		t.Errorf("the phone exits with %d", code)
	}
	lineOf(t, said, "is gone (1000)")
	lost, why := s.claimstorm(t, "phone", "--id", "elsewhere", "1")
	lineOf(t, why, "turned away (4404")
	if code := exitCode(lost); code != 1 {
		t.Errorf("a phone without a binary exits with %d", code)
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	lineOf(t, said, "closed (1001")
	if code := exitCode(third); code != 1 {
		t.Errorf("a claim that was lost exits with %d", code)
	}
	if code := exitCode(s.cmd); code != 0 {
		t.Errorf("after SIGTERM the relay exits with %d", code)
	}
	nobody, said := s.claim(t, "--id", "home")
	lineOf(t, said, "no relay answers")
	if code := exitCode(nobody); code != 3 {
		t.Errorf("without a relay a claim exits with %d", code)
	}
	bad, _ := s.claim(t)
	if code := exitCode(bad); code != 2 {
		t.Errorf("without an id a claim exits with %d", code)
	}
}
