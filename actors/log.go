package actors

import (
	"context"
	"log/slog"

	"github.com/pyrycode/pyrycode-relay/actors/slots"
)

// LogKeys is every key that a log line of the relay may have (docs/protocol.md 8). A test walks the code and holds it to this
// list: what is not here cannot leak a frame, a token or a header.
var LogKeys = []string{
	"addr", "asked", "binary_version", "check", "conn_id", "error", "listener", "remote", "server_id", "signal", "version",
}

// logDecision logs an entry of the journal, if its decision is one that operators follow.
func logDecision(l *slog.Logger, e *slots.Entry) {
	ctx := context.Background()
	if !l.Enabled(ctx, slog.LevelInfo) {
		return
	}
	server, conn := slog.String("server_id", string(e.Server)), slog.String("conn_id", string(e.Conn))
	remote := slog.String("remote", e.Remote)
	switch e.Decided {
	case slots.Granted:
		l.LogAttrs(ctx, slog.LevelInfo, "server_claimed", server, slog.String("binary_version", string(e.Version)), conn, remote)
	case slots.Refused: // never a version: it would tell a prober what the holder runs
		l.LogAttrs(ctx, slog.LevelInfo, "server_id_conflict", server, remote)
	case slots.TookOver:
		l.LogAttrs(ctx, slog.LevelInfo, "server_id_takeover", server, conn, remote)
	case slots.Released:
		l.LogAttrs(ctx, slog.LevelInfo, "server_released", server)
	}
}
