package main

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

const wellAnswer = `{"status":"ok","version":"v1","connected_binaries":2,"connected_phones":3}`

func TestHealthcheckAsksTheRelayOfItsEnvironment(t *testing.T) {
	said := ""
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		said = r.Host + r.URL.Path
		_, _ = io.WriteString(w, wellAnswer)
	}))
	defer s.Close()
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	for _, listen := range []string{"127.0.0.1:" + port, "0.0.0.0:" + port, ":" + port, "[::]:" + port} {
		t.Setenv("PYRYCODE_RELAY_INSECURE_LISTEN", listen)
		if code := run([]string{"healthcheck", "--within", "1h"}); code != 0 || !strings.HasSuffix(said, ":"+port+"/healthz") {
			t.Errorf("%s: exit %d, asked %q", listen, code, said)
		}
	}
	if code := run([]string{"healthcheck", "--within", "1h", "--ready"}); code != 0 || !strings.HasSuffix(said, "/readyz") {
		t.Errorf("--ready: exit %d, asked %q", code, said)
	}
	if code := run([]string{"healthcheck", "--within", "1h", "--url", s.URL + "/prefix"}); code != 0 || !strings.HasSuffix(said, "/prefix/healthz") {
		t.Errorf("--url: exit %d, asked %q", code, said)
	}
}

// TestHealthcheckByTLS: by the domain's name, whatever the certificate says, and behind a PROXY header where one is wanted.
func TestHealthcheckByTLS(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	names := make(chan string, 1)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		names <- r.TLS.ServerName + " " + r.Host
		_, _ = io.WriteString(w, wellAnswer)
	}))
	s.StartTLS() // for its certificate
	defer s.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		header := make([]byte, len("PROXY UNKNOWN\r\n"))
		if _, err := io.ReadFull(c, header); err != nil || string(header) != "PROXY UNKNOWN\r\n" {
			t.Errorf("the first bytes are %q (%v)", header, err)
		}
		tc := tls.Server(c, &tls.Config{Certificates: s.TLS.Certificates})
		r, err := http.ReadRequest(bufio.NewReader(tc))
		if err != nil {
			t.Error(err)
			return
		}
		names <- tc.ConnectionState().ServerName + " " + r.Host
		_, _ = io.WriteString(tc, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"+wellAnswer)
	}()
	t.Setenv("PYRYCODE_RELAY_DOMAIN", "relay.test")
	t.Setenv("PYRYCODE_RELAY_HTTPS_LISTEN", l.Addr().String())
	t.Setenv("PYRYCODE_RELAY_PROXY_PROTOCOL", "1")
	if code := run([]string{"healthcheck", "--within", "1h"}); code != 0 {
		t.Errorf("exit %d", code)
	}
	if got := <-names; got != "relay.test relay.test" {
		t.Errorf("asked for %q", got)
	}
}

func TestHealthcheckSaysWhatIsWrong(t *testing.T) {
	hang := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/draining/readyz":
			w.WriteHeader(503)
		case "/elsewhere/healthz":
			http.Redirect(w, r, "/healthz", http.StatusFound)
		case "/hangs/healthz":
			<-hang
		default:
			_, _ = io.WriteString(w, "<html>")
		}
	}))
	defer s.Close()
	defer close(hang)
	for what, want := range map[string]string{
		"/draining": "503", "/elsewhere": "302", "/hangs": "no answer within 50ms", "/other": "not a relay's",
	} {
		h := health{URL: s.URL + what, Ready: what == "/draining", Within: time.Hour}
		if what == "/hangs" {
			h.Within = 50 * time.Millisecond
		}
		if _, err := h.ask(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", what, err, want)
		}
	}
}
