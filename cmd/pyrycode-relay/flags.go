package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/pyrycode/pyrycode-relay/actors/slots"
	"github.com/pyrycode/pyrycode-relay/transport"
	"github.com/pyrycode/pyrycode-relay/transport/admin"
	"github.com/pyrycode/pyrycode-relay/transport/push"
)

// flags is every flag: its name, default and help. Environment twins, --help and errors come from here, and a test holds the
// README's table to it.
type flags struct {
	InsecureListen   string `placeholder:"ADDR" group:"Listeners" help:"Serve plain HTTP here, for local use or behind a proxy that ends TLS (127.0.0.1:8080, where nothing else is to be served)."`
	HTTPSListen      string `name:"https-listen" default:":443" placeholder:"ADDR" group:"Listeners" help:"Serve TLS here, with --tls-cert or --domain (${default})."`
	TLSCert          string `name:"tls-cert" placeholder:"FILE" group:"Listeners" help:"Serve TLS with this certificate (PEM, with its chain), which is read again when it changes."`
	TLSKey           string `name:"tls-key" placeholder:"FILE" group:"Listeners" help:"The key of --tls-cert."`
	Domain           string `placeholder:"NAME" group:"Listeners" help:"Serve TLS with a certificate that Let's Encrypt issues for this name."`
	CertCache        string `placeholder:"DIR" group:"Listeners" help:"Where certificates of --domain are kept: a directory of mode 0700 (pyrycode-relay in the user's cache directory)."`
	HTTPListen       string `name:"http-listen" default:":80" placeholder:"ADDR" group:"Listeners" help:"Answer the challenges of --domain here (${default})."`
	AdminListen      string `default:"127.0.0.1:9180" placeholder:"ADDR" aliases:"metrics-listen" env:"PYRYCODE_RELAY_ADMIN_LISTEN,PYRYCODE_RELAY_METRICS_LISTEN" group:"Listeners" help:"Serve the admin pages (/claims, /slots, /metrics) here; 'off' disables them (${default})."`
	AdminAllowRemote bool   `group:"Listeners" help:"Let the admin listener have an address that is not loopback."`
	AdminTokenFile   string `placeholder:"FILE" group:"Listeners" help:"Where to leave the token that the operator's release wants; by default admin-PORT.token in pyrycode-relay/ under XDG_RUNTIME_DIR, or the user's cache."`

	Grace         time.Duration `default:"30s" group:"Claims" help:"How long a slot is kept for its binary after the connection ended; 0 frees it at once."`
	ProbeTimeout  time.Duration `default:"5s" group:"Claims" help:"How long a holder may leave a probe unanswered before a waiting claim takes its slot over."`
	ProbeInterval time.Duration `default:"100ms" group:"Claims" help:"The least time between two probes of one slot."`
	Journal       int           `default:"4096" placeholder:"N" group:"Claims" help:"How many of the newest decisions are kept for /claims (${default})."`

	MaxPhones         int           `default:"16" placeholder:"N" group:"Phones" help:"How many phones a slot may have (${default})."`
	StartupGrace      time.Duration `default:"0s" group:"Phones" help:"For so long after the start, phones may wait for a binary that has not claimed its slot yet; 0 turns them away."`
	PhoneBacklogBytes int           `default:"4194304" placeholder:"BYTES" group:"Phones" help:"How much may wait for a phone that does not keep up, before it is closed (${default})."`
	MaxQueuedBytes    int64         `default:"0" placeholder:"BYTES" group:"Phones" help:"How much may wait for all connections together, before the phone with the longest queue is closed; 0 is a quarter of the memory limit."`

	Heartbeat        time.Duration `default:"30s" group:"Connections" help:"Ping a peer that nothing came from for so long."`
	HeartbeatTimeout time.Duration `default:"30s" group:"Connections" help:"Close a peer that stays silent for so long after that ping."`
	ReadTimeout      time.Duration `default:"30s" group:"Connections" help:"The longest that a message may take from its first byte to its last."`
	WriteTimeout     time.Duration `default:"10s" group:"Connections" help:"The longest that one write may take."`
	MaxFrameBytes    int           `default:"262144" placeholder:"BYTES" group:"Connections" help:"The largest frame. A binary's envelope may be 4096 bytes larger (${default})."`
	MaxConnections   int           `default:"0" placeholder:"N" group:"Connections" help:"How many connections may be live; 0 derives it from the file-descriptor limit."`

	DrainTimeout time.Duration `default:"10s" group:"Shutdown" help:"How long queued frames may take to go out."`
	DrainSpread  time.Duration `default:"0s" group:"Shutdown" help:"Close the connections evenly over so long; 0 closes all at once."`

	ProxyProtocol      bool     `aliases:"https-proxy-protocol" env:"PYRYCODE_RELAY_PROXY_PROTOCOL,PYRYCODE_RELAY_HTTPS_PROXY_PROTOCOL" group:"Addresses" help:"Each connection begins with a PROXY header (v1 or v2) that says where it comes from; one without is dropped."`
	TrustXForwardedFor bool     `name:"trust-x-forwarded-for" group:"Addresses" help:"X-Forwarded-For says where a request comes from."`
	TrustedProxies     networks `default:"127.0.0.0/8,::1/128,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,fc00::/7" placeholder:"CIDR,..." group:"Addresses" help:"From whom either is believed (loopback and private networks)."`

	RateBurst           int  `default:"20" placeholder:"N" group:"Limits" help:"How many upgrades an address may ask for at once; of IPv6 a /64 counts as one. 0 is no limit (${default})."`
	RatePerMinute       int  `default:"10" placeholder:"N" group:"Limits" help:"And how many more a minute. 0 is no limit (${default})."`
	RateLoopback        bool `group:"Limits" help:"Limit this machine's own addresses too."`
	MaxConnectionsPerIP int  `name:"max-connections-per-ip" default:"0" placeholder:"N" group:"Limits" help:"How many connections of one address may be live. 0 is no limit (${default})."`

	Production  bool   `group:"Operation" help:"Refuse to start with settings that are for trying only: plain HTTP beyond loopback, root, capabilities."`
	Record      string `placeholder:"FILE" group:"Operation" help:"Record every message that the registry handles, for pyrycode-relay replay. A former file is kept as FILE.1."`
	RecordBytes int64  `default:"67108864" placeholder:"BYTES" group:"Operation" help:"How large the record may grow before it is rotated; two files are kept (${default})."`
	LogFormat   string `default:"text" enum:"text,json" group:"Operation" help:"text or json."`
	LogLevel    string `default:"info" enum:"debug,info,warn,error" group:"Operation" help:"debug, info, warn or error."`

	Version kong.VersionFlag `env:"-" help:"Print the version and exit."`

	inherited map[string]net.Listener
}

// takeSockets has the relay serve what a service manager has opened. The address of a plain one is held to the same rules as one
// that a flag gives.
func (f *flags) takeSockets(inherited map[string]net.Listener) error {
	f.inherited = inherited
	if l := inherited[transport.Insecure]; l != nil {
		f.InsecureListen = l.Addr().String()
		return f.Validate()
	}
	return nil
}

// envPrefix and the flag in capitals make a flag's environment twin.
const envPrefix = "PYRYCODE_RELAY"

// Validate checks every value before a socket is opened. kong calls it; the first fault is told.
func (f *flags) Validate() error {
	for _, rule := range []struct {
		flag  string
		value any
		ok    bool
		want  string
	}{
		{"insecure-listen", f.InsecureListen, f.InsecureListen == "" || isAddr(f.InsecureListen), "an address and a port, such as 127.0.0.1:8080"},
		{"https-listen", f.HTTPSListen, isAddr(f.HTTPSListen), "an address and a port, such as :443"},
		{"http-listen", f.HTTPListen, isAddr(f.HTTPListen), "an address and a port, such as :80"},
		{"https-listen", f.HTTPSListen, f.HTTPSListen == ":443" || f.TLSCert != "" || f.Domain != "", "--tls-cert or --domain beside it: TLS needs a certificate"},
		{"http-listen", f.HTTPListen, f.HTTPListen == ":80" || f.Domain != "", "--domain beside it, whose challenges it answers; --insecure-listen is plain HTTP"},
		{"tls-cert", f.TLSCert, f.TLSCert == "" || f.TLSKey != "", "--tls-key beside it"},
		{"tls-key", f.TLSKey, f.TLSKey == "" || f.TLSCert != "", "--tls-cert beside it"},
		{"domain", f.Domain, f.Domain == "" || f.TLSCert == "", "either --domain or --tls-cert"},
		{"domain", f.Domain, f.Domain == "" || domain.MatchString(f.Domain), "a name such as relay.example.com, of ASCII, without a port"},
		{"admin-listen", f.AdminListen, f.AdminListen == "off" || isAddr(f.AdminListen), "an address and a port, such as 127.0.0.1:9180, or off"},
		{
			"admin-listen", f.AdminListen, f.AdminListen == "off" || f.AdminAllowRemote || isLoopback(f.AdminListen),
			"a loopback address, or --admin-allow-remote beside it: these pages show every server-id",
		},
		{"grace", f.Grace, f.Grace >= 0, "0 (no grace) or a positive duration such as 30s"},
		{"probe-timeout", f.ProbeTimeout, f.ProbeTimeout > 0, "a positive duration such as 5s"},
		{"probe-interval", f.ProbeInterval, f.ProbeInterval > 0, "a positive duration such as 100ms"},
		{"journal", f.Journal, f.Journal >= 1 && f.Journal <= maxJournal, fmt.Sprintf("1 to %d", maxJournal)},
		{"max-phones", f.MaxPhones, f.MaxPhones >= 1 && f.MaxPhones <= maxPhones, fmt.Sprintf("1 to %d", maxPhones)},
		{"startup-grace", f.StartupGrace, f.StartupGrace >= 0, "0 (none) or a positive duration such as 60s"},
		{
			"phone-backlog-bytes", f.PhoneBacklogBytes, f.PhoneBacklogBytes >= minBacklog && f.PhoneBacklogBytes <= maxBacklog,
			fmt.Sprintf("%d to %d", minBacklog, maxBacklog),
		},
		{
			"max-queued-bytes", f.MaxQueuedBytes, f.MaxQueuedBytes == 0 || f.MaxQueuedBytes >= minQueued,
			fmt.Sprintf("0 (a quarter of the memory limit) or at least %d", minQueued),
		},
		{"heartbeat", f.Heartbeat, f.Heartbeat > 0, "a positive duration such as 30s"},
		{"heartbeat-timeout", f.HeartbeatTimeout, f.HeartbeatTimeout > 0, "a positive duration such as 30s"},
		{"read-timeout", f.ReadTimeout, f.ReadTimeout > 0, "a positive duration such as 30s"},
		{"write-timeout", f.WriteTimeout, f.WriteTimeout > 0, "a positive duration such as 10s"},
		{"max-frame-bytes", f.MaxFrameBytes, f.MaxFrameBytes >= 1024 && f.MaxFrameBytes <= maxFrame, fmt.Sprintf("1024 to %d", maxFrame)},
		{"max-connections", f.MaxConnections, f.MaxConnections >= 0, "0 (from the file-descriptor limit) or a positive number"},
		{"rate-burst", f.RateBurst, f.RateBurst >= 0, "0 (no limit) or a positive number"},
		{"rate-per-minute", f.RatePerMinute, f.RatePerMinute >= 0, "0 (no limit) or a positive number"},
		{"max-connections-per-ip", f.MaxConnectionsPerIP, f.MaxConnectionsPerIP >= 0, "0 (no limit) or a positive number"},
		{"record-bytes", f.RecordBytes, f.RecordBytes >= minRecord, fmt.Sprintf("at least %d", minRecord)},
		{"drain-timeout", f.DrainTimeout, f.DrainTimeout >= 0, "0 or a positive duration such as 10s"},
		{"drain-spread", f.DrainSpread, f.DrainSpread >= 0, "0 (all at once) or a positive duration such as 60s"},
	} {
		if !rule.ok {
			return fmt.Errorf("--%s %q: want %s", rule.flag, fmt.Sprint(rule.value), rule.want)
		}
	}
	if f.InsecureListen == "" && f.TLSCert == "" && f.Domain == "" {
		f.InsecureListen = "127.0.0.1:8080"
	}
	if err := errors.Join(f.checkCertificate(), checkPush()); err != nil {
		return err
	}
	if f.Production {
		return f.checkProduction()
	}
	return nil
}

// checkCertificate looks at the files that a certificate is read from, or kept in.
func (f *flags) checkCertificate() error {
	if f.TLSCert != "" {
		if _, err := f.certificate().Load(); err != nil {
			return fmt.Errorf("--tls-cert %q: %w; want a certificate and its key, in PEM", f.TLSCert, err)
		}
	}
	if f.Domain == "" {
		return nil
	}
	if f.CertCache == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			return fmt.Errorf("--cert-cache %q: want a directory, since %w", f.CertCache, err)
		}
		f.CertCache = filepath.Join(dir, "pyrycode-relay")
	}
	if err := os.MkdirAll(f.CertCache, 0o700); err != nil {
		return fmt.Errorf("--cert-cache %q: %w; want a directory that can be made or is there", f.CertCache, err)
	}
	info, err := os.Stat(f.CertCache)
	if err != nil {
		return fmt.Errorf("--cert-cache %q: %w", f.CertCache, err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("--cert-cache %q of mode %04o: want 0700, since it holds keys; run: chmod 700 %s", f.CertCache, mode, f.CertCache)
	}
	return nil
}

func (f *flags) certificate() transport.Certificate {
	return transport.Certificate{File: f.TLSCert, KeyFile: f.TLSKey}
}

// domain is what a certificate can be had for, by a name, as a Host header has it: of ASCII, and without a dot at its end.
var domain = regexp.MustCompile(`^(?i)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])$`)

// networks are written with commas between them.
type networks []netip.Prefix

// UnmarshalText implements encoding.TextUnmarshaler.
func (n *networks) UnmarshalText(text []byte) error {
	*n = nil
	for word := range strings.SplitSeq(string(text), ",") {
		p, err := netip.ParsePrefix(strings.TrimSpace(word))
		if err != nil || p.Addr().Is4In6() {
			return fmt.Errorf("%q: want networks such as 10.0.0.0/8 or fd00::/8, with commas between them", text)
		}
		*n = append(*n, p)
	}
	return nil
}

// pushVariable holds the key for push wakes. No flag does: a command line can be read by everybody on the machine.
const pushVariable = envPrefix + "_FCM_CREDENTIALS"

func checkPush() error {
	if key := os.Getenv(pushVariable); key != "" && !push.IsKey([]byte(key)) {
		return fmt.Errorf("%s: want the JSON of a service-account key itself, not its file's name", pushVariable) // and no word of what it is
	}
	return nil
}

const (
	maxJournal = 1 << 20  // about 300 MiB
	maxFrame   = 16 << 20 // a message is held in memory, whole
	maxPhones  = 10_000   // of one slot: the registry tells each of them of a new holder
	minBacklog = 64 << 10
	maxBacklog = 1 << 30
	minQueued  = 1 << 20
	minRecord  = 64 << 10
)

func isAddr(s string) bool {
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return false
	}
	_, err = net.DefaultResolver.LookupPort(context.Background(), "tcp", port)
	return err == nil
}

func isLoopback(addr string) bool {
	host, _, _ := net.SplitHostPort(addr)
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// checkProduction refuses what is for trying only (docs/protocol.md 7).
func (f *flags) checkProduction() error {
	if f.InsecureListen != "" && !isLoopback(f.InsecureListen) {
		return fmt.Errorf("--production with --insecure-listen %q: want a loopback address, with a proxy before it that ends TLS", f.InsecureListen)
	}
	if os.Geteuid() == 0 {
		return fmt.Errorf("--production as root: want a user of its own; start it with systemd's User= or `setpriv --reuid`")
	}
	status, _ := os.ReadFile("/proc/self/status") // where the system does not tell, there is nothing to refuse
	if caps := excessCapabilities(string(status)); caps != 0 {
		return fmt.Errorf("--production with Linux capabilities %#x beyond CAP_NET_BIND_SERVICE: want them dropped, with systemd's CapabilityBoundingSet=, `setpriv --ambient-caps=-all`, or `setcap -r` where they are the program's", caps)
	}
	return nil
}

// excessCapabilities are those beyond CAP_NET_BIND_SERVICE (bit 10) that a process of this status has, or can have for the asking:
// the permitted ones, of which the effective are a part.
func excessCapabilities(status string) (caps uint64) {
	for line := range strings.Lines(status) {
		if hex, ok := strings.CutPrefix(line, "CapPrm:"); ok {
			_, _ = fmt.Sscanf(hex, "%x", &caps)
		}
	}
	return caps &^ (1 << 10)
}

// config is what the flags ask for.
func (f *flags) config() transport.Config {
	adminListen := f.AdminListen
	if adminListen == "off" {
		adminListen = ""
	}
	return transport.Config{
		Listen: f.InsecureListen, AdminListen: adminListen, AdminAllowRemote: f.AdminAllowRemote,
		Slots: slots.Config{
			Grace: f.Grace, ProbeTimeout: f.ProbeTimeout, ProbeInterval: f.ProbeInterval,
			StartupGrace: f.StartupGrace, MaxPhones: f.MaxPhones,
		},
		Journal: f.Journal, Heartbeat: f.Heartbeat, HeartbeatTimeout: f.HeartbeatTimeout,
		ReadTimeout: f.ReadTimeout, WriteTimeout: f.WriteTimeout,
		MaxFrameBytes: f.MaxFrameBytes, PhoneBacklog: f.PhoneBacklogBytes, MaxQueuedBytes: f.MaxQueuedBytes, MaxConnections: f.MaxConnections,
		DrainTimeout: f.DrainTimeout, DrainSpread: f.DrainSpread,
		Record: f.Record, RecordBytes: f.RecordBytes,
		HTTPSListen: f.HTTPSListen, Certificate: f.certificate(),
		ACME:          transport.ACME{Domain: f.Domain, Cache: f.CertCache, HTTPListen: f.HTTPListen},
		ProxyProtocol: f.ProxyProtocol, TrustForwardedFor: f.TrustXForwardedFor, TrustedProxies: f.TrustedProxies,
		RateBurst: f.RateBurst, RatePerMinute: f.RatePerMinute, RateLoopback: f.RateLoopback, MaxConnectionsPerIP: f.MaxConnectionsPerIP,
		PushKey:   []byte(os.Getenv(pushVariable)),
		Inherited: f.inherited,
		Log:       f.logger(),
	}
}

// tokenFile is where the admin token goes: where the flag says, or to the default place.
func (f *flags) tokenFile() (string, error) {
	if f.AdminTokenFile != "" {
		return f.AdminTokenFile, nil
	}
	_, port, _ := net.SplitHostPort(f.AdminListen)
	return admin.DefaultTokenFile(port)
}

func (f *flags) logger() *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(f.LogLevel)) // one of the enum's
	opts := &slog.HandlerOptions{Level: level}
	if f.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, opts))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, opts))
}
