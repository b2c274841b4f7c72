package main

import (
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/pyrycode/pyrycode-relay/transport"
)

// inherit gives the sockets that a service manager has opened for this process (LISTEN_FDS), by their names.
func inherit() (map[string]net.Listener, error) {
	all, err := activation.ListenersWithNames()
	if err != nil {
		return nil, fmt.Errorf("take the sockets of LISTEN_FDS: %w", err)
	}
	inherited := map[string]net.Listener{}
	for name, ls := range all {
		switch name {
		case transport.Insecure, transport.HTTPS, transport.HTTP:
		default:
			return nil, fmt.Errorf("LISTEN_FDNAMES names a socket %q: want %s, %s or %s; set FileDescriptorName= in its socket unit",
				name, transport.Insecure, transport.HTTPS, transport.HTTP)
		}
		if len(ls) > 1 {
			return nil, fmt.Errorf("LISTEN_FDNAMES names %d sockets %q: want one; ListenStream=443 takes IPv6 and IPv4", len(ls), name)
		}
		inherited[name] = ls[0]
	}
	return inherited, nil
}

// manager is the service manager that this process tells how it does, by sd_notify. Where there is none, nothing is said.
type manager struct{ log *slog.Logger }

func (m manager) ready() { m.say(daemon.SdNotifyReady) }
func (m manager) alive() { m.say(daemon.SdNotifyWatchdog) }

// stopping says that the shutdown may take so long, whatever the unit's TimeoutStopSec.
func (m manager) stopping(atMost time.Duration) {
	m.say(fmt.Sprintf("%s\nEXTEND_TIMEOUT_USEC=%d", daemon.SdNotifyStopping, atMost.Microseconds()))
}

func (m manager) say(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		m.log.Warn("service_manager_unreachable", "error", err)
	}
}

// watchdog says how often the service manager wants to hear that the relay is alive: twice in the time after which it would
// restart it. It is 0 where nobody asks.
func watchdog() (every time.Duration, err error) {
	within, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return 0, fmt.Errorf("read WATCHDOG_USEC: %w", err)
	}
	return within / 2, nil
}
