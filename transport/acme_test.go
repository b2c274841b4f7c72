package transport

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
	"github.com/miekg/dns"
)

// pebbleEnv makes this program Pebble, Let's Encrypt's own ACME server for tests, which validates on the two ports that it holds.
const pebbleEnv = "PYRYCODE_TEST_PEBBLE"

// servePebble says where it is, serves until its standard input ends, and finds every name on this machine.
func servePebble(ports string) {
	httpPort, tlsPort, _ := strings.Cut(ports, ",")
	challenges := make([]int, 2)
	for i, p := range []string{httpPort, tlsPort} {
		challenges[i], _ = strconv.Atoi(p)
	}
	names, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	resolver := &dns.Server{Listener: names, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, r *dns.Msg) {
		m := new(dns.Msg).SetReply(r)
		if q := r.Question[0]; q.Qtype == dns.TypeA {
			m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(127, 0, 0, 1)}}
		}
		_ = w.WriteMsg(m)
	})}
	go func() { _ = resolver.ActivateAndServe() }()
	silent := log.New(io.Discard, "", 0)
	store := db.NewMemoryStore()
	authority := ca.New(silent, store, "", "ecdsa", 0, 1, map[string]ca.Profile{"default": {}})
	validator := va.New(silent, challenges[0], challenges[1], false, names.Addr().String(), store)
	front := wfe.New(silent, store, validator, authority, []string{"pebble.test"}, false, false, 1, 1)
	srv := httptest.NewTLSServer(front.Handler())
	fmt.Println(srv.URL + wfe.DirectoryPath)
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// pebble is a Pebble in a process of its own: it leaves goroutines behind.
func pebble(t *testing.T, httpPort, tlsPort string) (directory string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), pebbleEnv+"="+httpPort+","+tlsPort, "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=20")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); _ = cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

const (
	domain = "relay.example.org"
	nobody = "1" // a port that no kernel gives to who asks for any
)

// acmeConfig is a relay with a certificate from an authority at directory, which nobody knows. Its ports are held already: the
// authority is told of them before there is a relay.
func acmeConfig(t *testing.T, log *slog.Logger, plain, secure passedOn, directory string) (Config, *http.Transport) {
	cfg := testConfig()
	way := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	t.Cleanup(way.CloseIdleConnections)
	cfg.Log, cfg.Listen, cfg.HTTPSListen = log, "", secure.addr()
	cfg.Inherited = map[string]net.Listener{HTTP: plain.again(), HTTPS: secure.again()}
	cfg.ACME = ACME{Domain: domain, Cache: t.TempDir(), HTTPListen: plain.addr(), directory: directory, client: &http.Client{Transport: way}}
	return cfg, way
}

// issuedCertificate waits until the relay has a certificate.
func (r *running) issuedCertificate() *x509.Certificate {
	tick := time.NewTicker(20 * time.Millisecond) // more often would take the time from those who issue it
	defer tick.Stop()
	for {
		<-tick.C
		c, err := tls.Dial("tcp", r.addr, &tls.Config{InsecureSkipVerify: true, ServerName: domain})
		if err != nil {
			continue
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0]
	}
}

// TestCertificateIsIssued by a real ACME server, by either challenge; a restart finds it in the cache, without the authority.
func TestCertificateIsIssued(t *testing.T) {
	for _, challenge := range []string{"http-01", "tls-alpn-01"} {
		t.Run(challenge, func(t *testing.T) {
			plain, secure := passOn(t), passOn(t)
			validated := [2]string{plain.port(), secure.port()}
			if challenge == "http-01" {
				validated[1] = nobody
			} else {
				validated[0] = nobody
			}
			var log loglines
			cfg, way := acmeConfig(t, log.log(), plain, secure, pebble(t, validated[0], validated[1]))
			r := run(t, cfg)
			cert := r.issuedCertificate()
			if cert.VerifyHostname(domain) != nil || !strings.Contains(cert.Issuer.CommonName, "Pebble") {
				t.Fatalf("issued for %v by %s", cert.DNSNames, cert.Issuer)
			}
			for host, want := range map[string]int{domain: 200, strings.ToUpper(domain) + ":443": 200, "elsewhere.example": 421, "127.0.0.1": 421} {
				c, err := tls.Dial("tcp", r.addr, &tls.Config{InsecureSkipVerify: true, ServerName: domain})
				if err != nil {
					t.Fatal(err)
				}
				fmt.Fprintf(c, "GET /healthz HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", host)
				resp, err := http.ReadResponse(bufio.NewReader(c), nil)
				if err != nil || resp.StatusCode != want {
					t.Errorf("Host %s: %v %v, want %d", host, resp, err, want)
				}
				c.Close()
			}
			for _, path := range []string{"/", "/healthz", "/v1/server", "/.well-known/acme-challenge/x", "/.well-known/acme-challenge/../healthz"} {
				for _, host := range []string{domain, "elsewhere.example"} {
					resp, _ := r.say(plain.addr(), "GET "+path+" HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n")
					if resp.StatusCode != 404 {
						t.Errorf("http://%s%s: %s", host, path, resp.Status)
					}
				}
			}
			r.stop()
			way.CloseIdleConnections()
			cfg.ACME.directory = "https://127.0.0.1:" + nobody
			cfg.Inherited = map[string]net.Listener{HTTP: plain.again(), HTTPS: secure.again()}
			if again := run(t, cfg); !again.issuedCertificate().Equal(cert) {
				t.Error("the certificate was not kept")
			}
			if n := log.count("certificate_not_renewed") + log.count("acme_failed"); n > 0 {
				t.Errorf("complaints, though all is well: %s", log.text.String())
			}
		})
	}
}

// TestAuthorityThatIsAway is told of once, holds up no handshake and no end, and all else is served.
func TestAuthorityThatIsAway(t *testing.T) {
	var log loglines
	stuck, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer stuck.Close()
	for what, directory := range map[string]string{"away": "https://127.0.0.1:" + nobody, "silent": "https://" + stuck.Addr().String()} {
		plain := passOn(t)
		cfg, _ := acmeConfig(t, log.log(), plain, passOn(t), directory)
		r := run(t, cfg)
		for range 5 {
			if c, err := tls.Dial("tcp", r.addr, &tls.Config{InsecureSkipVerify: true, ServerName: domain}); err == nil {
				c.Close()
				t.Fatalf("%s: a handshake without a certificate", what)
			}
		}
		if resp, _ := r.say(plain.addr(), "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); resp.StatusCode != 404 {
			t.Errorf("%s: %s", what, resp.Status)
		}
		if what == "away" {
			for log.count("acme_failed") == 0 || log.count("certificate_not_renewed") == 0 {
				_, _ = r.say(plain.addr(), "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
			}
		}
		r.stop()
	}
	if n, m := log.count("acme_failed"), log.count("certificate_not_renewed"); n != 1 || m != 1 {
		t.Errorf("told of %d and %d times", n, m)
	}
}

// TestCacheThatCannotBeWritten is told of once, and what it was to keep is used nevertheless.
func TestCacheThatCannotBeWritten(t *testing.T) {
	var log loglines
	plain, secure := passOn(t), passOn(t)
	cfg, _ := acmeConfig(t, log.log(), plain, secure, pebble(t, plain.port(), secure.port()))
	cfg.ACME.Cache = "/dev/full" // no directory
	r := run(t, cfg)
	r.issuedCertificate()
	if n := log.count("certificate_not_kept"); n != 1 {
		t.Errorf("told of %d times", n)
	}
}

// TestChallengesOfADomainInCapitals are answered: a token that nobody has asked for is not found, and not forbidden.
func TestChallengesOfADomainInCapitals(t *testing.T) {
	i := newIssuer(t.Context(), ACME{Domain: "Relay.Example.ORG", Cache: t.TempDir()}, testConfig().Log)
	for _, host := range []string{domain, "RELAY.example.org:80", "relay.example.org."} {
		r := httptest.NewRequest(http.MethodGet, "http://"+host+"/.well-known/acme-challenge/token", http.NoBody)
		w := httptest.NewRecorder()
		if i.challenges().ServeHTTP(w, r); w.Code != http.StatusNotFound {
			t.Errorf("%s: %d %s", host, w.Code, w.Body)
		}
	}
}
