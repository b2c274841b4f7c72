package port

import (
	"net"
	"runtime"
	"testing"
)

func TestHeld(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the port is a guess here")
	}
	addr := Held(t)
	for range 2 {
		if c, err := net.Dial("tcp", addr); err == nil {
			t.Fatalf("%s is at %s", c.RemoteAddr(), addr)
		}
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		l.Close()
	}
	for range 1000 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if l.Addr().String() == addr {
			t.Error("given away")
		}
		defer l.Close()
	}
}
