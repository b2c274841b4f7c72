package measure

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// heartbeat is long enough for every connection to be opened before the first is pinged.
const heartbeat = 15 * time.Second

// childEnv says that this process is a server to be measured, and which.
const childEnv = "PYRYCODE_MEASURE_CHILD"

// profileEnv names a file for the CPU profile of each server that is started; its kind is appended.
const profileEnv = "PYRYCODE_MEASURE_PROFILE"

func TestMain(m *testing.M) {
	if kind := os.Getenv(childEnv); kind != "" {
		if err := child(kind); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// child serves until its standard input ends, which it does with the parent.
func child(kind string) error {
	stats, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	serve := map[string]func(listening func(l, admin net.Addr)) error{"plain": servePlain, "plain-tls": servePlainTLS, "relay": serveRelay, "relay-tls": serveRelayTLS, "watched": serveWatched, "forward": serveForward, "copy": serveCopy, "splice": serveSplice}[kind]
	if serve == nil {
		return fmt.Errorf("%s=%s: want plain, relay, watched, forward, copy or splice", childEnv, kind)
	}
	if file := os.Getenv(profileEnv); file != "" {
		f, err := os.Create(file + "." + kind)
		if err != nil {
			return err
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	go func() { _ = http.Serve(stats, http.HandlerFunc(serveUsage)) }()
	go func() {
		err := serve(func(l, admin net.Addr) { fmt.Println(l, stats.Addr(), admin) })
		fmt.Fprintln(os.Stderr, kind, err)
		os.Exit(1)
	}()
	_, _ = os.Stdin.Read(make([]byte, 1))
	return nil
}

// usage is what a server has used so far.
type usage struct {
	CPU        time.Duration // user and system
	RSSKiB     int
	Goroutines int
}

func serveUsage(w http.ResponseWriter, _ *http.Request) {
	var ru syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &ru)
	u := usage{CPU: time.Duration(ru.Utime.Nano() + ru.Stime.Nano()), Goroutines: runtime.NumGoroutine()}
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			u.RSSKiB, _ = strconv.Atoi(strings.Fields(rest)[0])
		}
	}
	_ = json.NewEncoder(w).Encode(u)
}

// server is a child, seen from the parent. Only a watched one has admin pages.
type server struct{ addr, stats, admin string }

// start runs a server of this kind in a process of its own, until the benchmark or test ends.
func start(b testing.TB, kind string) server {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+kind)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatalf("%s did not start: %v", kind, err)
	}
	addrs := strings.Fields(line)
	return server{addr: addrs[0], stats: addrs[1], admin: addrs[2]}
}

func (s server) usage(b testing.TB) (u usage) {
	b.Helper()
	resp, err := http.Get("http://" + s.stats)
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&u); err != nil {
		b.Fatal(err)
	}
	return u
}
