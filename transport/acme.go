package transport

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"
)

// ACME has certificates issued for one name.
type ACME struct {
	Domain     string // empty for no ACME
	Cache      string // a directory of mode 0700, made where there is none
	HTTPListen string // host:port of the listener that answers http-01

	// Of tests: another authority than Let's Encrypt, and whom to trust when talking to it.
	directory string
	client    *http.Client
}

const (
	acmeInterval = 10 * time.Second // how soon a renewed certificate is in use
	// An authority counts failures: the pause after each is twice the one before.
	minPause, maxPause = time.Minute, 30 * time.Minute
)

// issuer is ACME at work. autocert obtains and renews; but a handshake is never what it does that for, nor waits for it: an
// authority that does not answer would hold every peer that dials.
type issuer struct {
	ACME
	manager *autocert.Manager

	// Of the goroutine that asks for the certificate.
	fault error // the latest
	pause time.Duration
	next  time.Time // when to try again
}

// newIssuer gives up what it asks the authority for when life is done.
func newIssuer(life context.Context, cfg ACME, log *slog.Logger) *issuer {
	cfg.Domain = strings.ToLower(cfg.Domain) // autocert knows it in no other way of writing
	client := &http.Client{Transport: http.DefaultTransport}
	if cfg.client != nil {
		client = cfg.client
	}
	watched := *client
	watched.Transport = &authority{life: life, to: client.Transport, log: log}
	return &issuer{ACME: cfg, manager: &autocert.Manager{
		Prompt: autocert.AcceptTOS, Cache: &cache{DirCache: autocert.DirCache(cfg.Cache), log: log},
		HostPolicy: autocert.HostWhitelist(cfg.Domain),
		Client:     &acme.Client{DirectoryURL: cfg.directory, HTTPClient: &watched, UserAgent: "pyrycode-relay"},
	}}
}

// source has the certificate issued where there is none, and otherwise gives the one that autocert has.
func (i *issuer) source() (*tls.Certificate, error) {
	if time.Now().Before(i.next) {
		return nil, i.fault
	}
	cert, err := i.manager.GetCertificate(&tls.ClientHelloInfo{
		ServerName: i.Domain, SupportedVersions: []uint16{tls.VersionTLS13},
		SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256}, SupportedCurves: []tls.CurveID{tls.CurveP256},
		CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256},
	})
	if err != nil {
		i.pause = min(max(2*i.pause, minPause), maxPause)
		i.next, i.fault = time.Now().Add(i.pause), fmt.Errorf("have a certificate issued for %s: %w", i.Domain, err)
		return nil, i.fault
	}
	i.pause = 0
	return cert, nil
}

// tlsConfig answers the authority's own handshakes (tls-alpn-01), and leaves the others to k.
func (i *issuer) tlsConfig(k *keeper) *tls.Config {
	return tlsConfig(func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if slices.Contains(hello.SupportedProtos, acme.ALPNProto) {
			return i.manager.GetCertificate(hello)
		}
		return k.get(hello)
	}, acme.ALPNProto)
}

// challenges is the handler of the listener for http-01: there is nothing else there.
func (i *issuer) challenges() http.Handler {
	answer := i.manager.HTTPHandler(http.NotFoundHandler())
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !i.isMe(r) {
			http.NotFound(w, r)
			return
		}
		r.Host = i.Domain // likewise, and without a port
		answer.ServeHTTP(w, r)
	})
}

// only lets requests for the domain through (docs/protocol.md 7).
func (i *issuer) only(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !i.isMe(r) {
			w.WriteHeader(http.StatusMisdirectedRequest)
			return
		}
		h.ServeHTTP(w, r)
	})
}

func (i *issuer) isMe(r *http.Request) bool {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return strings.EqualFold(strings.TrimSuffix(host, "."), i.Domain)
}

// cache is autocert's directory. What cannot be written is kept in memory by autocert, as long as it does not hear of it: it
// would throw a renewed certificate away, and ask for the next.
type cache struct {
	autocert.DirCache
	log *slog.Logger

	mu      sync.Mutex // guards trouble
	trouble trouble
}

// Get implements autocert.Cache. What cannot be read is not there: autocert would go without a certificate.
func (c *cache) Get(ctx context.Context, key string) ([]byte, error) {
	data, err := c.DirCache.Get(ctx, key)
	if err != nil {
		return nil, autocert.ErrCacheMiss
	}
	return data, nil
}

// Put implements autocert.Cache.
func (c *cache) Put(ctx context.Context, key string, data []byte) error {
	err := c.DirCache.Put(ctx, key, data)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.trouble.tell(func() { c.log.Error("certificate_not_kept", "error", err) })
	} else {
		c.trouble.over()
	}
	return nil
}

// authority is the way to the ACME server. autocert renews in silence: so what goes wrong on this way is logged here, once.
type authority struct {
	life context.Context // autocert's renewals take none
	to   http.RoundTripper
	log  *slog.Logger

	mu      sync.Mutex // guards trouble
	trouble trouble
}

// RoundTrip implements http.RoundTripper.
func (a *authority) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(r.Context())
	context.AfterFunc(a.life, cancel) // of a renewal, some ten in sixty days: they may stay
	resp, err := a.to.RoundTrip(r.WithContext(ctx))
	reason := err
	if err == nil && resp.StatusCode >= http.StatusInternalServerError {
		reason = fmt.Errorf("%s answered %s", r.URL.Host, resp.Status)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.life.Err() != nil:
	case reason != nil:
		a.trouble.tell(func() { a.log.Error("acme_failed", "error", reason) })
	default:
		a.trouble.over()
	}
	return resp, err
}
