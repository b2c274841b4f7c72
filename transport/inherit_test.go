package transport

import (
	"context"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// passedOn is a listening socket as a service manager has it, and gives a listener on it for each relay in turn.
type passedOn struct {
	t testing.TB
	l *net.TCPListener
}

func passOn(t testing.TB) passedOn {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return passedOn{t, l.(*net.TCPListener)}
}

func (p passedOn) as(name string) map[string]net.Listener {
	p.t.Helper()
	return map[string]net.Listener{name: p.again()}
}

func (p passedOn) again() net.Listener {
	p.t.Helper()
	f, err := p.l.File()
	if err != nil {
		p.t.Fatal(err)
	}
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		p.t.Fatal(err)
	}
	return l
}

func (p passedOn) addr() string { return p.l.Addr().String() }

func (p passedOn) port() string {
	_, port, _ := net.SplitHostPort(p.addr())
	return port
}

func TestInheritedSocketOutlivesTheRelay(t *testing.T) {
	socket := passOn(t)
	cfg := testConfig()
	for range 2 {
		cfg.Inherited = socket.as(Insecure)
		r := run(t, cfg)
		if r.addr != socket.addr() {
			t.Fatalf("listens on %s, and inherited %s", r.addr, socket.addr())
		}
		_ = r.claims("home").CloseNow()
		r.stop()
		c, err := net.Dial("tcp", r.addr) // the successor will accept it
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
}

func TestInheritedSocketAcceptsWithoutKeepAlive(t *testing.T) {
	l := inherited{passOn(t).again()}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	raw, err := got.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) {
		if on, err := syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_KEEPALIVE); on != 0 || err != nil {
			t.Errorf("SO_KEEPALIVE is %d (%v)", on, err)
		}
	})
}

// TestInheritedSocketThatNobodyServes would leave its clients waiting for ever.
func TestInheritedSocketThatNobodyServes(t *testing.T) {
	cfg := testConfig()
	cfg.Inherited = passOn(t).as(HTTPS)
	if err := Run(t.Context(), context.Background(), cfg); err == nil || !strings.Contains(err.Error(), `"https" was handed over`) {
		t.Errorf("got %v", err)
	}
}

func TestAliveIsSaidOnceTheRegistryHasAnswered(t *testing.T) {
	cfg := testConfig()
	said := make(chan struct{})
	cfg.AliveEvery, cfg.Alive = time.Millisecond, func() {
		select {
		case said <- struct{}{}:
		default:
		}
	}
	r := run(t, cfg)
	<-said
	r.dial("home").CloseNow()
	<-said
}

// TestHangingRegistryIsNotSaidToBeAlive, however much time goes by.
func TestHangingRegistryIsNotSaidToBeAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var set sockets
		hangs, alive := make(chan struct{}), 0
		unwatch := set.watch(time.Second, func() { <-hangs }, func() { alive++ })
		<-time.After(time.Hour)
		if alive > 0 {
			t.Errorf("said %d times", alive)
		}
		close(hangs)
		<-time.After(10 * time.Second)
		unwatch()
		if alive < 10 {
			t.Errorf("said %d times in 10 s", alive)
		}
	})
}
