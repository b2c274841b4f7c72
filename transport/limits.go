package transport

import (
	"log/slog"
	"math"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/jellydator/ttlcache/v3"
	"golang.org/x/net/http/httpguts"
	"golang.org/x/time/rate"
)

// limits is how much is let in of whom (docs/protocol.md 7). It is asked before an upgrade, and never of a connection that is
// established.
type limits struct {
	log         *slog.Logger // that waits for nobody
	burst       int
	rate        rate.Limit
	loopback    bool // limits the rate of loopback addresses too
	connections int  // of one address; 0: no limit

	upgrades *ttlcache.Cache[netip.Addr, *rate.Limiter] // nil: no limit. Forgotten once it is as if new
	mu       sync.Mutex                                 // guards live
	live     map[netip.Addr]int

	limited, full rate.Sometimes // for the log
	expiry        rate.Sometimes
}

// maxRemembered is how many addresses' rates are remembered: as many as a /16 has, in some 30 MB.
const maxRemembered = 1 << 16

func newLimits(cfg *Config, log *slog.Logger) *limits {
	l := &limits{
		log: log, burst: cfg.RateBurst, rate: rate.Limit(float64(cfg.RatePerMinute) / 60), loopback: cfg.RateLoopback,
		connections: cfg.MaxConnectionsPerIP, live: make(map[netip.Addr]int),
		limited: rate.Sometimes{Interval: time.Second}, full: rate.Sometimes{Interval: time.Second},
		expiry: rate.Sometimes{Interval: time.Minute},
	}
	if l.burst > 0 && l.rate > 0 {
		refilled := time.Duration(float64(l.burst)/float64(l.rate)*float64(time.Second)) + time.Second
		l.upgrades = ttlcache.New(ttlcache.WithCapacity[netip.Addr, *rate.Limiter](maxRemembered), ttlcache.WithTTL[netip.Addr, *rate.Limiter](refilled))
	}
	return l
}

// counted is what an address counts as: of IPv6 whoever has one has its whole /64.
func counted(from netip.Addr) netip.Addr {
	if from.Is4() {
		return from
	}
	p, _ := from.Prefix(64) // an address has that many bits
	return p.Addr()
}

// mayUpgrade takes one from what from may do, or says for how long it has to wait.
func (l *limits) mayUpgrade(from netip.Addr, now time.Time) (retry time.Duration, ok bool) {
	if l.upgrades == nil || from.IsLoopback() && !l.loopback {
		return 0, true
	}
	l.expiry.Do(l.upgrades.DeleteExpired)
	item, _ := l.upgrades.GetOrSetFunc(counted(from), func() *rate.Limiter { return rate.NewLimiter(l.rate, l.burst) })
	limiter := item.Value()
	if limiter.AllowN(now, 1) {
		return 0, true
	}
	l.limited.Do(func() { l.log.Warn("rate_limited", "remote", from.String()) })
	missing := 1 - limiter.TokensAt(now)
	return time.Duration(missing / float64(l.rate) * float64(time.Second)), false
}

// enter counts a connection of from, if it may have one more.
func (l *limits) enter(from netip.Addr) bool {
	if l.connections == 0 {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	key := counted(from)
	if l.live[key] >= l.connections {
		return false
	}
	l.live[key]++
	return true
}

// leave says that a connection that had entered is gone.
func (l *limits) leave(from netip.Addr) {
	if l.connections == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	key := counted(from)
	if l.live[key]--; l.live[key] == 0 {
		delete(l.live, key)
	}
}

// capReached says that there is no room for from.
func (l *limits) capReached(from netip.Addr) {
	l.full.Do(func() { l.log.Warn("conn_cap_reached", "remote", from.String()) })
}

// refuse answers an upgrade that came too early. The connection has no other use.
func refuse(w http.ResponseWriter, status int, retry time.Duration) {
	h := w.Header()
	h.Set("Retry-After", strconv.Itoa(max(1, int(math.Ceil(retry.Seconds())))))
	h.Set("Connection", "close")
	w.WriteHeader(status)
}

// isUpgrade reports whether a request asks for a WebSocket, well or badly. What does not is no attempt, and is not counted.
func isUpgrade(r *http.Request) bool {
	return r.Method == http.MethodGet && httpguts.HeaderValuesContainsToken(r.Header["Connection"], "upgrade") &&
		httpguts.HeaderValuesContainsToken(r.Header["Upgrade"], "websocket")
}
