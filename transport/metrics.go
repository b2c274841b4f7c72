package transport

import (
	"net/http"
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/pyrycode/pyrycode-relay/actors/tally"
	"github.com/pyrycode/pyrycode-relay/transport/admin"
)

// namespace is in front of every metric of the relay's own.
const namespace = "pyrycode_relay_"

// series makes the counts that others keep into metrics. They are read when somebody asks, and exist from the start.
type series struct{ *prometheus.Registry }

func (m series) counter(name, help string, labels prometheus.Labels, read func() int64) {
	m.MustRegister(prometheus.NewCounterFunc(
		prometheus.CounterOpts{Name: namespace + name, Help: help, ConstLabels: labels}, func() float64 { return float64(read()) }))
}

func (m series) gauge(name, help string, read func() int64) {
	m.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: namespace + name, Help: help}, func() float64 { return float64(read()) }))
}

func (m series) histogram(name, help string, h *tally.Histogram) {
	m.MustRegister(histogram{prometheus.NewDesc(namespace+name, help, nil, nil), h})
}

// histogram shows a tally's.
type histogram struct {
	desc *prometheus.Desc
	of   *tally.Histogram
}

// Describe implements prometheus.Collector.
func (h histogram) Describe(ch chan<- *prometheus.Desc) { ch <- h.desc }

// Collect implements prometheus.Collector.
func (h histogram) Collect(ch chan<- prometheus.Metric) {
	count, sum, buckets := h.of.Read()
	ch <- prometheus.MustNewConstHistogram(h.desc, count, sum, buckets)
}

// metrics is GET /metrics: every series of docs/protocol.md 8. A label's value is one of a few words of the relay's own.
func (s *server) metrics(pages *admin.Pages) http.Handler {
	m := series{prometheus.NewRegistry()}
	m.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: namespace + "build_info", Help: "Always 1; its labels name the running program.",
		ConstLabels: prometheus.Labels{"version": s.cfg.Build.Version, "commit": s.cfg.Build.Commit, "goversion": runtime.Version()},
	}, func() float64 { return 1 }))
	s.seriesOfSlots(m)
	s.seriesOfAttempts(m)
	s.seriesOfFrames(m)
	s.seriesOfSockets(m)
	m.gauge("claim_streams", "Readers of /claims/stream.", func() int64 { n, _ := pages.Streams(); return int64(n) })
	m.counter("claim_streams_dropped_total", "Readers of /claims/stream that were cut off because they did not read.", nil,
		func() int64 { _, n := pages.Streams(); return n })
	return promhttp.HandlerFor(m, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}

// seriesOfSlots are those of the registry.
func (s *server) seriesOfSlots(m series) {
	c := s.relay.Counts()
	m.gauge("connected_binaries", "Slots that are held. A claim that waits is not counted.", func() int64 { return int64(s.relay.Holders()) })
	m.gauge("connected_phones", "Phones that have a place, parked ones included.", func() int64 { return int64(s.relay.Phones()) })
	m.counter("takeovers_total", "Slots that a claim got because their holder left a probe unanswered.", nil, c.Takeovers.Load)
	m.counter("grace_expiries_total", "Slots that nobody claimed again within the grace.", nil, c.GraceExpiries.Load)
	for i := range c.Probes {
		m.counter("probes_total", "Probes of holders that have ended, by how.", prometheus.Labels{"result": tally.ProbeResult(i).String()}, c.Probes[i].Load)
	}
	m.histogram("claim_decision_seconds", "From a claim to its answer, as its connection sees it.", &c.Decision)
	m.histogram("probe_round_trip_seconds", "From the ping of a probe to its pong.", &c.ProbeTrip)
	m.counter("journal_entries_total", "Decisions in the journal since the start, kept or not.", nil, s.relay.Journal().Last)
	m.counter("record_dropped_messages_total", "Messages that --record could not take in time.", nil, s.recordDrops)
	m.gauge("registry_mailbox_messages", "Messages that wait for the registry.", func() int64 { return int64(s.relay.RegistryDepth()) })
	m.counter("dead_letters_total", "Messages to an actor that had ended by then.", nil, c.DeadLetters.Load)
	m.counter("actor_panics_total", "Panics of actors. Each is a fault of the relay.", nil, c.Panics.Load)
}

// seriesOfAttempts are those of upgrades.
func (s *server) seriesOfAttempts(m series) {
	c := s.relay.Counts()
	for at := range c.Attempts {
		for o := range c.Attempts[at] {
			m.counter("ws_upgrade_attempts_total", "Attempts to upgrade, each under the one outcome that was decided.",
				prometheus.Labels{"endpoint": tally.Endpoint(at).String(), "outcome": tally.Outcome(o).String()}, c.Attempts[at][o].Load)
		}
	}
	for kind, o := range map[string]tally.Outcome{
		"no_server": tally.Reject404, "server_in_use": tally.Reject409, "phones_at_cap": tally.Reject429, "ratelimit": tally.RejectRateLimit,
	} {
		m.counter("register_failures_total", "Binaries and phones that were turned away, by why.", prometheus.Labels{"kind": kind},
			func() int64 { return c.Attempts[tally.Server][o].Load() + c.Attempts[tally.Client][o].Load() })
	}
}

// seriesOfFrames are those of what binaries and phones say.
func (s *server) seriesOfFrames(m series) {
	c := s.relay.Counts()
	for _, d := range []tally.Direction{tally.PhoneToBinary, tally.BinaryToPhone} {
		labels := prometheus.Labels{"direction": d.String()}
		m.counter("frames_forwarded_total", "Frames that were forwarded.", labels, func() int64 { frames, _ := c.Frames.Sum(d); return frames })
		m.counter("bytes_forwarded_total", "Bytes of frames that were forwarded, without their envelopes.", labels,
			func() int64 { _, bytes := c.Frames.Sum(d); return bytes })
	}
	m.histogram("frame_transit_seconds", "From the reading of a frame to its writing, of the first frame of each write.", &s.sockets.transit)
	for i := range c.Envelopes {
		m.counter("envelopes_dropped_total", "Messages of binaries that went nowhere, by why.", prometheus.Labels{"kind": tally.Drop(i).String()}, c.Envelopes[i].Load)
	}
	for i := range c.Pushes {
		m.counter("push_wakes_total", "Wishes to wake a phone, by what became of them.", prometheus.Labels{"outcome": tally.PushOutcome(i).String()}, c.Pushes[i].Load)
	}
}

// seriesOfSockets are those of connections and their queues.
func (s *server) seriesOfSockets(m series) {
	set := s.sockets
	m.gauge("connections", "Live WebSocket connections.", func() int64 { return int64(set.count()) })
	m.gauge("connections_limit", "The most that there may be.", func() int64 { return int64(s.cfg.MaxConnections) })
	m.gauge("queued_bytes", "Bytes that wait to be written, of all connections.", set.queued.Load)
	m.gauge("queued_bytes_limit", "The most that may wait before the phone with the longest queue is closed; 0 is no limit.", func() int64 { return set.cfg.MaxQueuedBytes })
	m.gauge("outboxes_waiting", "Connections for which something waits to be written.", func() int64 { n, _ := set.outboxes(); return n })
	m.gauge("outbox_longest_bytes", "What waits for the connection for which most does.", func() int64 { _, most := set.outboxes(); return most })
	m.counter("heartbeat_losses_total", "Connections that were given up because nothing was heard of them.", nil, set.lost.Load)
	m.counter("arrivals_lost_total", "Connections that ended before a request had come of them: too slow, junk, headers beyond the limit, or gone again.", nil, s.door.lost.Load)
	m.counter("arrivals_evicted_total", "Connections without a request that had to go for want of room, those first that had been there for the longest time.", nil, s.door.out.Load)
	for v := range verdicts {
		m.counter("close_frames_sent_total", "Close frames that have gone out: by the relay's own code, echoed to a peer, or ordered by a binary.",
			prometheus.Labels{"code": v.String()}, set.verdicts[v].Load)
	}
}

// recordDrops is how many messages could not be recorded.
func (s *server) recordDrops() int64 {
	if s.recorder == nil {
		return 0
	}
	return s.recorder.drops()
}

// outboxes is for how many connections something waits, and how much for that with most.
func (set *sockets) outboxes() (waiting, most int64) {
	for _, s := range set.all(nil) {
		s.mu.Lock()
		queued := s.out.queued
		s.mu.Unlock()
		if queued > 0 {
			waiting++
		}
		most = max(most, queued)
	}
	return waiting, most
}
