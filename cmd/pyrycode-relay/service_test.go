package main

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/pyrycode/pyrycode-relay/transport"
)

// TestServiceManager plays one to the command, which testscript has put into the path: it holds the socket over a restart, is told READY, WATCHDOG and STOPPING, and no client is refused.
func TestServiceManager(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	name := "" // the kernel picks one, without a path that may be too long
	if runtime.GOOS != "linux" {
		name = filepath.Join(t.TempDir(), "notify")
	}
	told, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer told.Close()
	answered := make(chan error)
	for range 2 {
		go func() { // connects before there is a relay, and waits for it
			resp, err := http.Get("http://" + l.Addr().String() + "/readyz")
			if err == nil && resp.StatusCode != http.StatusOK {
				t.Errorf("answered %s", resp.Status)
			}
			answered <- err
		}()
		relay := exec.Command("sh", "-c", `LISTEN_PID=$$ exec pyrycode-relay --admin-listen off --drain-spread 1s`)
		socket, err := l.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		relay.ExtraFiles = []*os.File{socket}
		relay.Env = append(os.Environ(), "LISTEN_FDS=1", "LISTEN_FDNAMES=insecure", "WATCHDOG_USEC=20000",
			"NOTIFY_SOCKET="+told.LocalAddr().String())
		relay.Stderr = os.Stderr
		if err := relay.Start(); err != nil {
			t.Fatal(err)
		}
		socket.Close()
		t.Cleanup(func() { _ = relay.Process.Kill(); _ = relay.Wait() })
		hear(t, told, "READY=1")
		hear(t, told, "WATCHDOG=1")
		hear(t, told, "WATCHDOG=1")
		if err := <-answered; err != nil {
			t.Error(err)
		}
		_ = relay.Process.Signal(syscall.SIGTERM)
		hear(t, told, "STOPPING=1\nEXTEND_TIMEOUT_USEC=21000000")
		if code := exitCode(relay); code != 0 {
			t.Errorf("exit %d", code)
		}
	}
}

// hear waits for a message to the service manager.
func hear(t *testing.T, told *net.UnixConn, want string) {
	t.Helper()
	b := make([]byte, 1024)
	for {
		n, err := told.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		if string(b[:n]) == want {
			return
		}
		if !strings.HasPrefix(string(b[:n]), "WATCHDOG") {
			t.Fatalf("told %q, want %q", b[:n], want)
		}
	}
}

// TestSocketsThatNobodyKnows are refused before the relay serves anything.
func TestSocketsThatNobodyKnows(t *testing.T) {
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	socket, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	for env, want := range map[string]string{
		"LISTEN_FDNAMES=web LISTEN_FDS=1":                         `names a socket "web": want insecure, https or http; set FileDescriptorName=`,
		"LISTEN_FDNAMES=https:https LISTEN_FDS=2":                 `names 2 sockets "https": want one`,
		"LISTEN_FDNAMES=insecure LISTEN_FDS=1 WATCHDOG_USEC=soon": "read WATCHDOG_USEC",
	} {
		relay := exec.Command("sh", "-c", `LISTEN_PID=$$ exec pyrycode-relay`)
		relay.Env = append(os.Environ(), strings.Fields(env)...)
		relay.ExtraFiles = []*os.File{socket, socket}
		out, err := relay.CombinedOutput()
		if relay.ProcessState.ExitCode() != exitConfig || !strings.Contains(string(out), want) {
			t.Errorf("%s: %v %s, want %q", env, err, out, want)
		}
	}
}

// TestProductionLooksAtSockets: where a plain one is open to everybody, it makes no difference who opened it.
func TestProductionLooksAtSockets(t *testing.T) {
	var f flags
	if err := parse(&f, nil, "test", "", kong.Vars{"version": ""}); err != nil {
		t.Fatal(err)
	}
	f.Production = true
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	err = f.takeSockets(map[string]net.Listener{transport.Insecure: l})
	if err == nil || !strings.Contains(err.Error(), "--production with --insecure-listen") {
		t.Errorf("got %v", err)
	}
}

// TestListenersReachTheTransport as the flags say them.
func TestListenersReachTheTransport(t *testing.T) {
	f := flags{InsecureListen: ":1", HTTPSListen: ":2", HTTPListen: ":3", Domain: "relay.test", CertCache: "/c", TLSCert: "cert", TLSKey: "key"}
	got := f.config()
	if got.Listen != ":1" || got.HTTPSListen != ":2" || got.ACME.HTTPListen != ":3" || got.ACME.Domain != "relay.test" || got.ACME.Cache != "/c" ||
		got.Certificate.File != "cert" || got.Certificate.KeyFile != "key" {
		t.Errorf("%+v", got)
	}
}
