package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	mathrand "math/rand/v2"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/pyrycode/pyrycode-relay/cmd/claimstorm/history"
	"github.com/pyrycode/pyrycode-relay/cmd/claimstorm/report"
)

// session is one run against one relay, and all that is recorded of it.
type session struct {
	load     *load
	plan     plan
	clock    *clock
	fleet    *fleet
	journal  *journal // nil without --admin
	progress *report.Progress
	lookout  *lookout
	nonce    string // in this run's server-ids, so that two runs do not meet

	history history.History
	living  sync.WaitGroup // claimants
	clients atomic.Int64   // numbers given out
	asked   atomic.Int64   // claims that were made
	refused atomic.Int64   // of them, 4409
	evicted atomic.Int64   // silent holders that were closed for another one

	mu        sync.Mutex // guards what follows
	upgrades  *hdrhistogram.Histogram
	refusals  *hdrhistogram.Histogram
	statuses  map[int]int64 // answers that were no upgrade
	unreached int64         // links that could not be made
	first     error         // why the first of them could not
	died      error         // why the relay counts as gone
	farewell  bool          // it says that it is shutting down
	alive     time.Duration // the last moment before which it surely was not: then a claim was made that it let in
	voids     []string
	notes     []string
	ledger    ledger
	latencies []report.Latency // a command's own, before those of claims
	counters  []report.Counter // likewise
	rounds    []report.Round
	frames    *report.Frames
	hold      *report.Hold
	lag       time.Duration // the most that the lookout waited
	behind    time.Duration // the most that a schedule was missed by
	counted   int64         // of the headline, where that is not claims
	lasted    time.Duration // the time in which they were counted; 0 is the whole run
}

func newSession(l *load, p plan, f *fleet, j *journal) *session {
	var nonce [3]byte
	_, _ = rand.Read(nonce[:]) // never fails
	return &session{
		load: l, plan: p, clock: startClock(), fleet: f, journal: j, nonce: hex.EncodeToString(nonce[:]),
		upgrades: report.NewHistogram(), refusals: report.NewHistogram(), statuses: map[int]int64{},
	}
}

// ids are the server-ids of this run.
func (s *session) ids(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("storm-%s-%d", s.nonce, i+1)
	}
	return ids
}

// rng is the stream of chance with this number, by the seed.
func (s *session) rng(stream uint64) *mathrand.Rand {
	return mathrand.New(mathrand.NewPCG(s.load.Seed, stream))
}

// add writes a claim down that has ended.
func (s *session) add(c *history.Claim) {
	s.history.Add(*c)
	if timedOut(*c) && c.Silent != 0 && (s.load.HeartbeatTimeout == 0 || c.Ended < c.Silent+s.load.HeartbeatTimeout) {
		s.evicted.Add(1) // a heartbeat takes longer, and that somebody was there for it is checked (evicted-for-nobody)
	}
	if c.End == history.Closed && c.Code == history.CodeClaimed {
		s.refused.Add(1)
		s.mu.Lock()
		report.Record(s.refusals, c.Ended-c.Asked)
		s.mu.Unlock()
	}
}

func (s *session) recordUpgrade(asked, upgraded time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	report.Record(s.upgrades, upgraded-asked)
	if !s.farewell {
		s.alive = max(s.alive, asked)
	}
}

func (s *session) turnedAway(answer *noUpgrade) {
	s.mu.Lock()
	s.statuses[answer.status]++
	s.mu.Unlock()
}

// missed counts a link that could not be made.
func (s *session) missed(err error) {
	s.mu.Lock()
	if s.unreached++; s.first == nil {
		s.first = err
	}
	s.mu.Unlock()
	s.dialled(err)
}

// dialled looks at why a connection was not made. A relay that refuses them is not there.
func (s *session) dialled(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if errors.Is(err, syscall.ECONNREFUSED) && s.died == nil {
		s.died = err
	}
}

// told looks at a close frame of the relay. One that says that it is shutting down has an end to its promises, if that is true (bury).
func (s *session) told(now time.Duration, code int, reason string) {
	if code != history.CodeGoingAway || reason != history.ReasonGoingAway {
		return
	}
	s.mu.Lock()
	s.farewell, s.alive = true, min(s.alive, now)
	s.mu.Unlock()
}

// gone says that the relay died, or is about to.
func (s *session) gone() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.died != nil || s.farewell
}

// bury finds out, when the run is over, whether the relay is. What its end explains is no fault: it still has to answer for what it
// did before, and for what it sent.
func (s *session) bury(ctx context.Context) {
	switch {
	case s.died != nil:
	case s.farewell:
		l, err := s.fleet.join(ctx, "/v1/server", s.ids(1)[0]+"-end", "X-Pyrycode-Version: claimstorm")
		if err == nil { // it lets others in, and so it was no shutdown
			l.cut(true)
			return
		}
		s.died = err
	default:
		_, _, s.died = s.fleet.health(ctx)
	}
	if s.died != nil {
		s.ledger.forgive()
	}
}

// void says why the run proves nothing.
func (s *session) void(format string, args ...any) {
	s.mu.Lock()
	s.voids = append(s.voids, fmt.Sprintf(format, args...))
	s.mu.Unlock()
}

// fault is a violation of RFC 6455, or a message that has no business where it came.
func (s *session) fault(format string, args ...any) {
	s.violate(report.Violation{Check: checkWire, At: s.clock.now(), Says: "The relay sent " + fmt.Sprintf(format, args...)})
}

func (s *session) violate(v report.Violation) {
	s.mu.Lock()
	s.ledger.add(v)
	s.mu.Unlock()
}

func (s *session) looked(check string, times int) {
	s.mu.Lock()
	s.ledger.looked(check, int64(times))
	s.mu.Unlock()
}

func (s *session) violated() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ledger.broken > 0
}

// pause waits, and says whether the run goes on.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// each calls work(0) to work(n-1), by so many goroutines at once.
func each(n, workers int, work func(i int)) {
	var next atomic.Int64
	var all sync.WaitGroup
	for range min(n, workers) {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				work(i)
			}
		})
	}
	all.Wait()
}

// dialers is how many links are made at once: more would only queue in the relay's backlog.
const dialers = 64

// health asks the relay who it is. One that does not say, but can be reached, may be tried all the same.
func (f *fleet) health(ctx context.Context) (version, commit string, err error) {
	conn, err := f.connect(ctx)
	if err != nil {
		return "", "", err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	_ = conn.SetDeadline(time.Now().Add(dialWithin))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+f.host+f.prefix+"/healthz", nil)
	if err != nil {
		return "", "", fmt.Errorf("ask for /healthz: %w", err)
	}
	req.Close = true
	if err := req.Write(conn); err != nil {
		return "", "", err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), req)
	switch {
	case ctx.Err() != nil:
		return "", "", ctx.Err()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "", "", fmt.Errorf("it takes connections, and does not answer within %s", dialWithin)
	case err != nil:
		return "", "", nil // it may be a relay without that page
	}
	defer resp.Body.Close()
	var health struct{ Version, Commit string }
	_ = json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&health)
	return health.Version, health.Commit, nil
}

// perSecond is a rate, 0 where no time has passed.
func perSecond(n int64, d time.Duration) float64 {
	if rate := float64(n) / d.Seconds(); !math.IsInf(rate, 0) && !math.IsNaN(rate) {
		return rate
	}
	return 0
}
