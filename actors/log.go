package actors

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/pyrycode/pyrycode-relay/actors/slots"
)

// LogKeys is every key that a log line of the relay may have (docs/protocol.md 8). A test walks the code and holds it to this
// list: what is not here cannot leak a frame, a token or a header.
var LogKeys = []string{
	"actor", "addr", "binary_version", "conn_id", "count", "device_name", "error", "listener", "remote", "server_id", "signal",
	"stack", "version",
}

// scribe writes the log lines of the journal. It is an actor that no sender runs, since to write may mean to wait for whoever
// reads the log: that holds up the lines, and nobody else. What the journal no longer keeps by the time its line would be
// written is passed over, and counted in a line of its own.
type scribe struct {
	log     *slog.Logger // fixed at birth, as is all but logged
	quiet   bool         // nobody wants the journal's lines
	journal *Journal
	post    func(any)
	panics  *atomic.Int64

	awake  atomic.Bool // a wakeUp is under way
	logged int64       // the scribe's alone: the last entry that it has dealt with
}

type (
	wakeUp   struct{}
	panicked struct{ where, reason, stack string }
)

// wake has the new entries logged.
func (s *scribe) wake() {
	if !s.quiet && !s.awake.Load() && !s.awake.Swap(true) {
		s.post(wakeUp{})
	}
}

// panicked has a panic logged. It is to be called by the deferred function that recovered it.
func (s *scribe) panicked(where string, reason any) {
	s.panics.Add(1)
	s.post(panicked{where, fmt.Sprint(reason), string(debug.Stack())})
}

// Receive handles one message. It alone of all actors may wait.
func (s *scribe) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case wakeUp:
		s.awake.Store(false) // before it looks: what is added from here on wakes it again
		s.catchUp()
	case panicked:
		s.log.Error("actor_panicked", "actor", m.where, "error", m.reason, "stack", m.stack)
	}
}

func (s *scribe) catchUp() {
	var chunk [CopyChunk]slots.Entry
	for n := s.journal.Read(s.logged, chunk[:]); n > 0; n = s.journal.Read(s.logged, chunk[:]) {
		if missed := chunk[0].Seq - s.logged - 1; missed > 0 {
			s.log.Warn("journal_lines_skipped", "count", missed)
		}
		for i := range n {
			logDecision(s.log, &chunk[i])
		}
		s.logged = chunk[n-1].Seq
	}
}

// logDecision logs an entry of the journal, if its decision is one that operators follow.
func logDecision(l *slog.Logger, e *slots.Entry) {
	server, conn := slog.String("server_id", string(e.Server)), slog.String("conn_id", string(e.Conn))
	remote := slog.String("remote", e.Remote)
	info := func(event string, keys ...slog.Attr) {
		l.LogAttrs(context.Background(), slog.LevelInfo, event, keys...)
	}
	switch e.Decided {
	case slots.Granted:
		info("server_claimed", server, slog.String("binary_version", string(e.Version)), conn, remote)
	case slots.Refused: // never a version: it would tell a prober what the holder runs
		info("server_id_conflict", server, remote)
	case slots.TookOver:
		info("server_id_takeover", server, conn, remote)
	case slots.Released:
		info("server_released", server)
	case slots.Attached, slots.Parked:
		info("phone_registered", server, conn, slog.String("device_name", e.Device), remote)
	case slots.TurnedAway:
		if e.Why == slots.NobodyHolds {
			info("phone_register_no_server", server, remote)
		}
	case slots.Left:
		info("phone_unregistered", server, conn)
	}
}
