package measure

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"testing"
	"time"
)

const (
	dead     = 1000 // holders that never read and never write again
	inLine   = 10   // claims behind each of them
	dialling = 128  // claims under way at once

	// Far beyond what any machine is late by: the figures are logged, these are only to tell late from never.
	lateTakeover = 2 * time.Second
	lateRefusal  = 10 * time.Second
	atLast       = 2 * time.Minute
)

// decision is an entry of the journal, as docs/protocol.md 5 has it.
type decision struct {
	Time    time.Time
	Server  string `json:"server_id"`
	Conn    string `json:"conn_id"`
	Asked   string
	Decided string
	Proof   struct {
		Conn string `json:"conn_id"`
	}
}

// journal asks for everything that was decided about id, or about all where it is empty.
func (s server) journal(b testing.TB, id string) (all []decision) {
	b.Helper()
	resp, err := http.Get(fmt.Sprintf("http://%s/claims?server_id=%s", s.admin, id))
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&all); err != nil {
		b.Fatal(err)
	}
	return all
}

// until waits for a decision about id, and gives the n-th of that kind.
func (s server) until(b testing.TB, id, decided string, n int) decision {
	b.Helper()
	for {
		left := n
		for _, d := range s.journal(b, id) {
			if d.Decided == decided {
				left--
			}
			if left == 0 {
				return d
			}
		}
	}
}

// TestThousandDeadIncumbents: a thousand holders fall silent and ten living claims come for the slot of each. The first in line
// takes over when the probe timeout is over, the nine behind it are refused by its pong, and the relay is as it was.
func TestThousandDeadIncumbents(t *testing.T) {
	if os.Getenv("SOAK") == "" {
		t.Skip("a long test: SOAK=1 runs it")
	}
	s := start(t, "watched")
	empty := s.usage(t)
	id := func(i int) string { return fmt.Sprint("dead-", i%dead) }
	holders := make([]*peer, dead)
	each(holders, dialling, func(i int) { holders[i] = dial(t, s.addr, i, id(i)) })
	defer closeAll(holders)
	s.holders(t, dead) // so that the first claims are theirs, all of them
	held := s.usage(t)

	stop := s.watch(t)
	defer stop()

	type end struct {
		claim int
		code  uint16
		at    time.Time
	}
	ends := make(chan end, dead*inLine)
	claims := make([]*peer, dead*inLine)
	defer closeAll(claims)
	each(claims, dialling, func(i int) {
		p := dial(t, s.addr, dead+i, id(i))
		claims[i] = p
		go func() {
			code := p.live()
			ends <- end{i, code, time.Now()}
			p.Close()
		}()
	})
	if t.Failed() {
		t.FailNow()
	}
	refused := map[string][]time.Time{} // by id, when 4409 was read
	timer := time.NewTimer(atLast)
	defer timer.Stop()
	for n := range dead * (inLine - 1) {
		select {
		case e := <-ends:
			if e.code != 4409 {
				t.Fatalf("a claim of %s was closed with %d, want 4409", id(e.claim), e.code)
			}
			refused[id(e.claim)] = append(refused[id(e.claim)], e.at)
		case <-timer.C:
			t.Fatalf("%d refusals %v after the last claim, want %d", n, atLast, dead*(inLine-1))
		}
	}
	most := stop()
	after := s.usage(t) // before the journal is asked for, which takes memory of its own

	byID := map[string][]decision{}
	for _, d := range s.journal(t, "") {
		byID[d.Server] = append(byID[d.Server], d)
	}
	var first, last time.Time // claims that wait
	var takeovers, refusals, reads []time.Duration
	for i := range dead {
		st := storyOf(t, id(i), byID[id(i)])
		takeovers = append(takeovers, st.takeover.Sub(st.waiting[0])-probeTimeout)
		for k, at := range st.refused {
			refusals = append(refusals, at.Sub(later(st.takeover, st.waiting[k+1])))
		}
		if n := len(refused[id(i)]); n != inLine-1 {
			t.Errorf("%s: %d claims read 4409, want %d", id(i), n, inLine-1)
		}
		for _, at := range refused[id(i)] {
			reads = append(reads, at.Sub(st.takeover))
		}
		if first.IsZero() || st.waiting[0].Before(first) {
			first = st.waiting[0]
		}
		last = later(last, st.waiting[inLine-1])
	}
	select {
	case e := <-ends:
		t.Errorf("a new holder of %s was closed with %d", id(e.claim), e.code)
	default:
	}
	t.Logf("%d claims for %d dead holders within %v", dead*inLine, dead, last.Sub(first))
	t.Logf("takeover, later than the probe timeout of %v: %v", probeTimeout, quantiles(takeovers))
	t.Logf("refusal behind it, decided after: %v", quantiles(refusals))
	t.Logf("refusal behind it, read after: %v", quantiles(reads))
	if worst := slices.Max(takeovers); worst > lateTakeover {
		t.Errorf("a takeover was %v late", worst)
	}
	if early := slices.Min(takeovers); early < 0 {
		t.Errorf("a holder was given up %v early", -early)
	}
	if worst := slices.Max(refusals); worst > lateRefusal {
		t.Errorf("a refusal was decided %v after the takeover", worst)
	}

	// What is left is a thousand holders that sleep; the dead ones' sockets are cut when they have lingered.
	http.DefaultClient.CloseIdleConnections()
	quiet := s.usage(t)
	// Two more: this very question is a connection.
	for began := time.Now(); quiet.Goroutines > empty.Goroutines+2; quiet = s.usage(t) {
		if time.Since(began) > atLast {
			t.Fatalf("%d goroutines, of an empty relay %d", quiet.Goroutines, empty.Goroutines)
		}
		http.DefaultClient.CloseIdleConnections()
	}
	s.holders(t, dead)
	t.Logf("goroutines: empty %d, held %d, peak %d, after %d", empty.Goroutines, held.Goroutines, most.Goroutines, quiet.Goroutines)
	t.Logf("RSS in KiB: empty %d, held %d, peak %d (%.1f a connection), after %d", empty.RSSKiB, held.RSSKiB, most.RSSKiB,
		float64(most.RSSKiB-empty.RSSKiB)/(dead*(1+inLine)), after.RSSKiB)
}

// watch asks for the usage again and again until it is stopped, and gives the most of each that it saw.
func (s server) watch(b testing.TB) (stop func() usage) {
	over, peak := make(chan struct{}), make(chan usage, 1)
	go func() {
		var most usage
		defer func() { peak <- most }()
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			u := s.usage(b)
			most.RSSKiB, most.Goroutines = max(most.RSSKiB, u.RSSKiB), max(most.Goroutines, u.Goroutines)
			select {
			case <-over:
				return
			case <-tick.C:
			}
		}
	}()
	return sync.OnceValue(func() usage {
		close(over)
		return <-peak
	})
}

// holders waits until n slots are held.
func (s server) holders(b testing.TB, n int) {
	b.Helper()
	for {
		resp, err := http.Get("http://" + s.addr + "/healthz")
		if err != nil {
			b.Fatal(err)
		}
		var h struct {
			Holders int `json:"connected_binaries"`
		}
		err = json.NewDecoder(resp.Body).Decode(&h)
		resp.Body.Close()
		if err != nil {
			b.Fatal(err)
		}
		if h.Holders == n {
			return
		}
	}
}

// story is when it was decided what about one id: waiting in the order of the line, refused in the order of the line behind
// its first.
type story struct {
	waiting, refused []time.Time
	takeover         time.Time
}

// storyOf fails unless the journal says of id what it must: the holder granted, ten claims in line, the first of them taking
// over by silence, and each of the others refused, in order, by proof of that one.
func storyOf(t *testing.T, id string, ds []decision) (st story) {
	t.Helper()
	var line []string
	n := map[string]int{}
	for _, d := range ds {
		n[d.Decided]++
		switch d.Decided {
		case "waiting":
			line, st.waiting = append(line, d.Conn), append(st.waiting, d.Time)
		case "took_over":
			st.takeover = d.Time
			if d.Asked != "probe_expired" || len(line) == 0 || d.Conn != line[0] {
				t.Fatalf("%s: %+v, in line were %v", id, d, line)
			}
		case "refused":
			st.refused = append(st.refused, d.Time)
			if k := len(st.refused); k >= len(line) || d.Conn != line[k] || d.Proof.Conn != line[0] {
				t.Fatalf("%s: %+v, in line were %v", id, d, line)
			}
		}
	}
	if len(ds) != 2*inLine+1 || n["granted"] != 1 || n["waiting"] != inLine || n["took_over"] != 1 || n["refused"] != inLine-1 {
		t.Fatalf("%s: %v", id, n)
	}
	return st
}

// live answers pings until the connection ends, and gives the close code, or 0.
func (p *peer) live() uint16 {
	for {
		op, payload, err := p.frame()
		switch {
		case err != nil:
			return 0
		case op == 8 && len(payload) >= 2:
			return binary.BigEndian.Uint16(payload)
		case op == 9:
			_, _ = p.Write(append([]byte{0x8a, 0x80 | byte(len(payload)), 0, 0, 0, 0}, payload...))
		}
	}
}

func closeAll(ps []*peer) {
	for _, p := range ps {
		if p != nil {
			p.Close()
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// quantiles sorts ds.
func quantiles(ds []time.Duration) string {
	slices.Sort(ds)
	return fmt.Sprintf("p50 %v, p99 %v, max %v", ds[len(ds)/2], ds[len(ds)*99/100], ds[len(ds)-1])
}

// BenchmarkDropDecides asks how soon the end of a holder's connection decides for the claim that waits: from the drop to the
// time of the entry that grants.
func BenchmarkDropDecides(b *testing.B) {
	const rounds = 300
	for _, how := range []string{"FIN", "reset"} {
		b.Run(how, func(b *testing.B) {
			s := start(b, "watched")
			var times []time.Duration
			for b.Loop() {
				for range rounds {
					times = append(times, dropDecides(b, s, len(times), how))
				}
			}
			slices.Sort(times)
			b.ReportMetric(float64(times[len(times)/2].Nanoseconds())/1e3, "us-p50")
			b.ReportMetric(float64(times[len(times)*99/100].Nanoseconds())/1e3, "us-p99")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func dropDecides(b *testing.B, s server, i int, how string) time.Duration {
	id := fmt.Sprint("drop-", i)
	holder := dial(b, s.addr, i, id)
	defer holder.Close()
	s.until(b, id, "granted", 1)
	next := dial(b, s.addr, i, id)
	defer next.Close()
	// The probe says that the claim waits. It is read, since a close with bytes unread would be a reset, and left unanswered.
	if op, _, err := holder.frame(); err != nil || op != 9 {
		b.Fatalf("want a probe, got opcode %d, %v", op, err)
	}
	if how == "reset" {
		_ = holder.Conn.(*net.TCPConn).SetLinger(0)
	}
	dropped := time.Now()
	holder.Close()
	return s.until(b, id, "granted", 2).Time.Sub(dropped)
}
