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
func serveRelay(listening func(net.Addr)) error {
	ctx := context.Background()
	return transport.Run(ctx, ctx, transport.Config{
		Listen:  "127.0.0.1:0",
		Slots:   slots.Config{Grace: 30 * time.Second, ProbeTimeout: 5 * time.Second, ProbeInterval: 100 * time.Millisecond},
		Journal: 4096, Heartbeat: heartbeat, HeartbeatTimeout: 30 * time.Second,
		ReadTimeout: 30 * time.Second, WriteTimeout: 10 * time.Second,
		MaxFrameBytes: 256 << 10, MaxConnections: 15000, DrainTimeout: 10 * time.Second,
		Log: slog.New(slog.DiscardHandler), Started: func(l, _ net.Addr) { listening(l) },
	})
}
