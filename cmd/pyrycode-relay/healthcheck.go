package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/alecthomas/kong"
)

func init() { commands["healthcheck"] = healthcheck }

// health is what the check may be told, and what it reads from the relay's own environment to find it. Hidden flags are the
// relay's, by the same names.
type health struct {
	URL    string        `name:"url" env:"-" placeholder:"URL" help:"The relay to ask, such as http://127.0.0.1:8080; by default the one that this environment configures."`
	Ready  bool          `env:"-" help:"Ask whether it lets upgrades in (/readyz), and not only whether it is alive (/healthz)."`
	Within time.Duration `env:"-" default:"3s" help:"How long the answer may take."`

	InsecureListen string `hidden:""`
	HTTPSListen    string `hidden:"" name:"https-listen"`
	Domain         string `hidden:""`
	TLSCert        string `hidden:"" name:"tls-cert"`
	ProxyProtocol  bool   `hidden:"" aliases:"https-proxy-protocol" env:"PYRYCODE_RELAY_PROXY_PROTOCOL,PYRYCODE_RELAY_HTTPS_PROXY_PROTOCOL"`
}

// Validate is called by kong.
func (h *health) Validate() error {
	if u, err := url.Parse(h.URL); h.URL != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		return fmt.Errorf("--url %q: want http://HOST:PORT or https://HOST", h.URL)
	}
	if h.Within <= 0 {
		return fmt.Errorf("--within %q: want a positive duration such as 3s", h.Within)
	}
	return nil
}

// healthcheck asks a relay how it is: exit 0 if it answers that it is well, 1 if not. For containers, which have no other program.
func healthcheck(args []string) int {
	var h health
	err := parse(&h, args, "pyrycode-relay healthcheck",
		"Asks the relay that this environment configures how it is: exit 0 if it is well, 1 if not.", kong.Vars{})
	if err != nil {
		return fail(exitConfig, err)
	}
	said, err := h.ask(context.Background())
	if err != nil {
		return fail(exitFailure, err)
	}
	fmt.Println(said)
	return 0
}

// ask gives what the relay says of itself, in a line.
func (h *health) ask(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, h.Within)
	defer cancel()
	page, client := h.target()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, page, http.NoBody)
	if err != nil {
		return "", fmt.Errorf("ask %s: %w", page, err)
	}
	req.Header.Set("User-Agent", "pyrycode-relay healthcheck")
	resp, err := client.Do(req)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "", fmt.Errorf("%s: no answer within %s", page, h.Within)
	case err != nil:
		return "", fmt.Errorf("no relay answers: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s, want 200", page, resp.Status)
	}
	if h.Ready {
		return "ready", nil
	}
	var said struct {
		Status, Version string
		Binaries        int `json:"connected_binaries"`
		Phones          int `json:"connected_phones"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&said); err != nil {
		return "", fmt.Errorf("%s: the answer is not a relay's: %w", page, err)
	}
	if said.Status != "ok" {
		return "", fmt.Errorf("%s: status %q, want ok", page, said.Status)
	}
	return fmt.Sprintf("ok: %s, %d binaries, %d phones", said.Version, said.Binaries, said.Phones), nil
}

// target is the page to ask, and who asks it. A relay of this machine is asked on loopback.
func (h *health) target() (page string, client *http.Client) {
	base, addr := h.URL, ""
	transport := &http.Transport{DisableKeepAlives: true}
	if base == "" {
		if base, addr = h.own(); addr != "" {
			transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) { return h.dial(ctx, addr) }
		}
		// Its own certificate, perhaps for another name than loopback's, and perhaps expired: it is asked whether it lives.
		transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
	}
	path := "/healthz"
	if h.Ready {
		path = "/readyz"
	}
	u, _ := url.Parse(base) // Validate has, or it is ours
	return u.JoinPath(path).String(), &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// own is where the relay of this environment listens: how to call it, and the address to reach it at.
func (h *health) own() (base, addr string) {
	if h.InsecureListen == "" && (h.Domain != "" || h.TLSCert != "") {
		addr = onLoopback(h.HTTPSListen, ":443")
		if h.Domain != "" {
			return "https://" + h.Domain, addr // to another Host it answers 421
		}
		return "https://" + addr, addr
	}
	addr = onLoopback(h.InsecureListen, "127.0.0.1:8080")
	return "http://" + addr, addr
}

// onLoopback is listen, or otherwise, with loopback in place of "every address".
func onLoopback(listen, otherwise string) string {
	if listen == "" {
		listen = otherwise
	}
	host, port, err := net.SplitHostPort(listen)
	if ip := net.ParseIP(host); err == nil && (host == "" || ip != nil && ip.IsUnspecified()) {
		return net.JoinHostPort("localhost", port) // either family
	}
	return listen
}

// dial connects, and where the relay wants to be told by a proxy who comes, says that nobody was proxied.
func (h *health) dial(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil || !h.ProxyProtocol {
		return conn, err
	}
	if _, err := io.WriteString(conn, "PROXY UNKNOWN\r\n"); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("say PROXY UNKNOWN to %s: %w", addr, err)
	}
	return conn, nil
}
