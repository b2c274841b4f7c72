package main

import (
	"context"
	"fmt"
	"net"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// listen listens on a port that is the test's until its end: when the listener has been closed nobody else gets it, and who dials it is
// refused.
func listen(t *testing.T) net.Listener {
	t.Helper()
	holder, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	unix.CloseOnExec(holder)
	t.Cleanup(func() { _ = unix.Close(holder) })
	if err := share(holder); err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(holder, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	at, err := unix.Getsockname(holder)
	if err != nil {
		t.Fatal(err)
	}
	sharing := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		failed := c.Control(func(fd uintptr) { err = share(int(fd)) })
		if failed != nil {
			return failed
		}
		return err
	}}
	l, err := sharing.Listen(context.Background(), "tcp4", fmt.Sprintf("127.0.0.1:%d", at.(*unix.SockaddrInet4).Port))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func share(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) }
