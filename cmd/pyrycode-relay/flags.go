package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/pyrycode/pyrycode-relay/actors/slots"
	"github.com/pyrycode/pyrycode-relay/transport"
	"github.com/pyrycode/pyrycode-relay/transport/admin"
)

// flags is every flag: its name, default and help. Environment twins, --help and errors come from here, and a test holds the
// README's table to it.
type flags struct {
	InsecureListen   string `default:"127.0.0.1:8080" placeholder:"ADDR" group:"Listeners" help:"Serve plain HTTP here, for local use or behind a proxy that ends TLS (${default})."`
	AdminListen      string `default:"127.0.0.1:9180" placeholder:"ADDR" aliases:"metrics-listen" group:"Listeners" help:"Serve the admin pages (/claims, /slots, /metrics) here; 'off' disables them (${default})."`
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

	Production  bool   `group:"Operation" help:"Refuse to start with settings that are for trying only: plain HTTP beyond loopback, root, capabilities."`
	Record      string `placeholder:"FILE" group:"Operation" help:"Record every message that the registry handles, for pyrycode-relay replay. A former file is kept as FILE.1."`
	RecordBytes int64  `default:"67108864" placeholder:"BYTES" group:"Operation" help:"How large the record may grow before it is rotated; two files are kept (${default})."`
	LogFormat   string `default:"text" enum:"text,json" group:"Operation" help:"text or json."`
	LogLevel    string `default:"info" enum:"debug,info,warn,error" group:"Operation" help:"debug, info, warn or error."`

	Version kong.VersionFlag `env:"-" help:"Print the version and exit."`
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
		{"insecure-listen", f.InsecureListen, isAddr(f.InsecureListen), "an address and a port, such as 127.0.0.1:8080"},
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
		{"record-bytes", f.RecordBytes, f.RecordBytes >= minRecord, fmt.Sprintf("at least %d", minRecord)},
		{"drain-timeout", f.DrainTimeout, f.DrainTimeout >= 0, "0 or a positive duration such as 10s"},
		{"drain-spread", f.DrainSpread, f.DrainSpread >= 0, "0 (all at once) or a positive duration such as 60s"},
	} {
		if !rule.ok {
			return fmt.Errorf("--%s %q: want %s", rule.flag, fmt.Sprint(rule.value), rule.want)
		}
	}
	if f.Production {
		return f.checkProduction()
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
	if !isLoopback(f.InsecureListen) {
		return fmt.Errorf("--production with --insecure-listen %q: want a loopback address, with a proxy before it that ends TLS", f.InsecureListen)
	}
	if os.Geteuid() == 0 {
		return fmt.Errorf("--production as root: want a user of its own; start it with systemd's User= or `setpriv --reuid`")
	}
	if caps := excessCapabilities(); caps != 0 {
		return fmt.Errorf("--production with Linux capabilities %#x beyond CAP_NET_BIND_SERVICE: want them dropped, with systemd's CapabilityBoundingSet= or `setpriv --bounding-set`", caps)
	}
	return nil
}

// excessCapabilities are the effective capabilities beyond CAP_NET_BIND_SERVICE (bit 10), where the system tells.
func excessCapabilities() (caps uint64) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if hex, ok := strings.CutPrefix(line, "CapEff:"); ok {
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
		Log: f.logger(),
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
