package admin

import "testing"

func TestLoopbackHosts(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "localhost:9180": true, "127.0.0.1": true, "127.1.2.3:80": true, "[::1]:9180": true, "[::1]": true,
		"evil.example": false, "127.0.0.1.evil.example:80": false, "localhost.evil.example": false, "192.0.2.1:9180": false,
		"0.0.0.0:9180": false, "[::]:9180": false, "": false, ":9180": false,
	} {
		if got := isLoopback(host); got != want {
			t.Errorf("%q: got %v, want %v", host, got, want)
		}
	}
}
