// Package port holds ports for tests that end one listener and begin another, or that want to be refused: a port that was free a moment ago
// may be somebody else's by now.
package port

import (
	"fmt"
	"runtime"
	"syscall"
	"testing"
)

// Held is an address of loopback that refuses whoever dials it, and where only somebody who names it can listen, until the test ends: a
// socket is bound to it and does not listen, so that the kernel gives the port to nobody who asks for any. Elsewhere than on Linux
// nobody could listen there beside it, and the port is a guess.
func Held(t testing.TB) string {
	t.Helper()
	syscall.ForkLock.RLock() // no child is to inherit it
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		t.Fatal(err)
	}
	letGo := func() { _ = syscall.Close(fd) }
	if runtime.GOOS == "linux" {
		t.Cleanup(letGo)
	} else {
		defer letGo()
	}
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	at, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint("127.0.0.1:", at.(*syscall.SockaddrInet4).Port)
}
