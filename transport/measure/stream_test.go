package measure

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// onlookers are the readers of /claims/stream; every second one reads nothing.
const onlookers = 1000

// BenchmarkOnlookers asks what a thousand readers of the live journal cost the claims that they watch: claims decided a second in
// a storm of upgrades, with none and with all of them, in turns.
func BenchmarkOnlookers(b *testing.B) {
	s := start(b, "watched")
	for b.Loop() {
		var rate, relay, client [2]float64
		const rounds = 3
		for range rounds {
			for i, n := range []int{0, onlookers} {
				before, mine := s.usage(b), ownCPU()
				claims, took := s.watched(b, n)
				rate[i] += float64(claims) / took.Seconds() / rounds
				relay[i] += float64((s.usage(b).CPU - before.CPU).Microseconds()) / float64(claims) / rounds
				client[i] += float64((ownCPU() - mine).Microseconds()) / float64(claims) / rounds
			}
		}
		for i, how := range []string{"unwatched", "watched"} {
			b.ReportMetric(rate[i], "claims/s-"+how)
			b.ReportMetric(relay[i], "us-CPU/claim-"+how)
			b.ReportMetric(client[i], "us-client-CPU/claim-"+how)
		}
		b.ReportMetric(rate[1]/rate[0], "ratio")
		b.ReportMetric(0, "ns/op")
	}
}

// ownCPU is what this process has used so far, which dials, and reads the streams.
func ownCPU() time.Duration {
	var ru syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &ru)
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
}

// watched is how many claims were decided in what time, while so many look on.
func (s server) watched(b *testing.B, onlookers int) (claims int64, took time.Duration) {
	var readers sync.WaitGroup
	var streams []net.Conn
	for i := range onlookers {
		c, err := net.Dial("tcp", s.admin)
		if err != nil {
			b.Fatal(err)
		}
		streams = append(streams, c)
		if _, err := fmt.Fprintf(c, "GET /claims/stream HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			b.Fatal(err)
		}
		if _, err := bufio.NewReaderSize(c, 16).ReadByte(); err != nil {
			b.Fatal(err)
		}
		if i%2 == 0 {
			readers.Go(func() { _, _ = io.Copy(io.Discard, c) })
		}
	}
	const storm, dialers = 6 * time.Second, 8
	var over atomic.Bool
	var dialling sync.WaitGroup
	before, began := s.decisions(b), time.Now()
	for i := range dialers {
		dialling.Go(func() {
			for n := 0; !over.Load(); n++ {
				_ = dial(b, s.addr, i+dialers*n, fmt.Sprintf("storm-%d-%d", i, n%100)).Close() // from many addresses: ports wait
			}
		})
	}
	<-time.After(storm)
	claims, took = (s.decisions(b)-before)/2, time.Since(began) // each is granted, and released
	over.Store(true)
	dialling.Wait()
	for _, c := range streams {
		_ = c.Close()
	}
	readers.Wait()
	return claims, took
}

// decisions is the number of the journal's newest entry.
func (s server) decisions(b *testing.B) int64 {
	resp, err := http.Get("http://" + s.admin + "/claims?newest=1")
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	var entries []struct{ Seq int64 }
	if err := json.NewDecoder(resp.Body).Decode(&entries); err != nil {
		b.Fatal(err)
	}
	if len(entries) == 0 {
		return 0
	}
	return entries[0].Seq
}
