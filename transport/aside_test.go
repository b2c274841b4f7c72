package transport

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// stoppable is a log that is not written to while it is locked.
type stoppable struct {
	sync.Mutex
	loglines
}

func (l *stoppable) Write(p []byte) (int, error) {
	l.Lock()
	defer l.Unlock()
	return l.loglines.Write(p)
}

// TestNobodyWaitsForTheLog: where who reads it has stopped, frames cross and upgrades get their answers; what was said is
// written when it is read again.
func TestNobodyWaitsForTheLog(t *testing.T) {
	var log stoppable
	cfg := testConfig()
	cfg.MaxConnections, cfg.Log = 3, slog.New(slog.NewTextHandler(&log, nil))
	r := run(t, cfg)
	log.Lock()
	goOn := sync.OnceFunc(log.Unlock)
	defer goOn()
	binary := r.claims("home")
	phone := r.join("home")
	id := hello(t, phone, binary)
	r.enters("last")
	for range 20 {
		for _, bad := range []string{`{"conn_id":"gone","frame":1}`, `7`, `{"push_wake":{"platform":"fcm","token":"t"}}`} {
			write(t, binary, "%s", bad)
		}
		write(t, binary, `{"conn_id":%q,"frame":"on"}`, id)
		if got := read(t, phone); got != `"on"` {
			t.Fatal(got)
		}
	}
	for range 20 {
		if resp, _ := r.say(r.addr, request(r.addr, "another")); resp.StatusCode != http.StatusServiceUnavailable {
			t.Fatalf("beyond the limit: %s", resp.Status)
		}
	}
	goOn()
	hold(phone)
	hold(binary)
	r.stop()
	for _, event := range []string{"unknown_conn_id", "malformed_envelope", "push_wake_dropped", "conn_cap_reached", "server_claimed", "shutting_down"} {
		if log.count(event) == 0 {
			t.Errorf("%s was not logged", event)
		}
	}
}

// TestAsidesAreBounded: what nobody writes is lost when too much of it waits, and what has room is in order.
func TestAsidesAreBounded(t *testing.T) {
	var log stoppable
	log.Lock()
	set, err := newSockets(socketConfig{Heartbeat: time.Minute, HeartbeatTimeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	aside := set.newAside(slog.NewTextHandler(&log, nil)).With("version", "1")
	for n := range 2 * maxAsides {
		aside.Info("event", "count", n)
	}
	log.Unlock()
	set.stop()
	lines := strings.Split(strings.TrimSpace(log.text.String()), "\n")
	if n := len(lines); n < maxAsides || n > maxAsides+1 { // one may be in the writer's hand
		t.Errorf("%d lines are written, want %d", n, maxAsides)
	}
	for n, line := range lines {
		if n < maxAsides && !strings.HasSuffix(line, fmt.Sprintf("msg=event version=1 count=%d", n)) {
			t.Fatalf("line %d is %s", n, line)
		}
	}
}
