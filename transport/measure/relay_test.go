package measure

import (
	"context"
	"log/slog"
	"net"
	"time"

	"github.com/pyrycode/pyrycode-relay/actors/slots"
	"github.com/pyrycode/pyrycode-relay/transport"
)

// serveRelay is the relay with its defaults, but for the heartbeat.
func serveRelay(listening func(l, admin net.Addr)) error { return serve(defaults(), listening) }

// probeTimeout is a watched relay's: long enough for ten thousand claims to come before the first dead holder is given up.
const probeTimeout = 4 * time.Second

// serveWatched is a relay that shows everything it decides at its admin listener, and whose heartbeat stays out of the way.
func serveWatched(listening func(l, admin net.Addr)) error {
	cfg := defaults()
	cfg.AdminListen, cfg.Journal = "127.0.0.1:0", 1<<15
	cfg.Slots.ProbeTimeout, cfg.Heartbeat = probeTimeout, time.Hour
	return serve(cfg, listening)
}

func defaults() transport.Config {
	return transport.Config{
		Listen:  "127.0.0.1:0",
		Slots:   slots.Config{Grace: 30 * time.Second, ProbeTimeout: 5 * time.Second, ProbeInterval: 100 * time.Millisecond, MaxPhones: 128, StartupGrace: time.Minute},
		Journal: 4096, Heartbeat: heartbeat, HeartbeatTimeout: 30 * time.Second,
		ReadTimeout: 30 * time.Second, WriteTimeout: 10 * time.Second,
		MaxFrameBytes: 256 << 10, MaxConnections: 15000, DrainTimeout: 10 * time.Second,
		Log: slog.New(slog.DiscardHandler),
	}
}

func serve(cfg transport.Config, listening func(l, admin net.Addr)) error {
	ctx := context.Background()
	cfg.Started = listening
	return transport.Run(ctx, ctx, cfg)
}
