package admin

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/time/rate"

	"github.com/pyrycode/pyrycode-relay/messages"
)

// TestStreamTellsWhatClaimsShows, from now on, each once and in order.
func TestStreamTellsWhatClaimsShows(t *testing.T) {
	s := show(t, Config{Journal: 1000})
	s.comes("home", "before")
	next := s.follow("")
	for i := range 20 {
		s.comes("home", messages.ConnID(fmt.Sprint("c", i)))
	}
	var told []string
	for range 40 {
		e := s.must(next)
		if e.name != "decision" || e.id != fmt.Sprint(3+len(told)) {
			t.Fatalf("after %d decisions: %+v", len(told), e)
		}
		told = append(told, e.data)
	}
	_, body := s.request(http.MethodGet, "/claims?after=2")
	var shown []json.RawMessage
	if err := json.Unmarshal([]byte(body), &shown); err != nil || len(shown) != len(told) {
		t.Fatalf("%v: %s", err, body)
	}
	for i := range shown {
		if string(shown[i]) != told[i] {
			t.Errorf("told %s, shown %s", told[i], shown[i])
		}
	}
}

func TestStreamResumes(t *testing.T) {
	s := show(t, Config{Journal: 1000})
	for range 100 {
		s.comes("home", "c")
	}
	for what, next := range map[string]func() (event, error){
		"by Last-Event-ID": s.follow("", "Last-Event-ID", "150"),
		"by after":         s.follow("?after=150"),
		"by both":          s.follow("?after=7", "Last-Event-ID", "150"), // a browser dials again with the address that it began with
	} {
		for i := 151; i <= 200; i++ {
			if e := s.must(next); e.id != fmt.Sprint(i) {
				t.Fatalf("%s: %+v, want %d", what, e, i)
			}
		}
	}
	for what, next := range map[string]func() (event, error){
		"an id": s.follow("", "Last-Event-ID", "5000"), "a number": s.follow("?after=5000"), // and no id yet: nothing had come
	} {
		if e := s.must(next); e.id != "1" {
			t.Errorf("%s of a former life of the relay: %+v", what, e)
		}
	}
}

// TestHeadOfAStreamEnds: its connection can be asked for more.
func TestHeadOfAStreamEnds(t *testing.T) {
	s := show(t, Config{Journal: 10})
	c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "HEAD /claims/stream HTTP/1.1\r\nHost: localhost\r\n\r\nGET /slots HTTP/1.1\r\nHost: localhost\r\n\r\n")
	in := bufio.NewReader(c)
	for _, method := range []string{http.MethodHead, http.MethodGet} {
		resp, err := http.ReadResponse(in, &http.Request{Method: method})
		if err != nil || resp.StatusCode != 200 {
			t.Fatalf("%s: %v, %+v", method, err, resp)
		}
	}
}

func TestStreamFilters(t *testing.T) {
	s := show(t, Config{Journal: 1000})
	next := s.follow("?server_id=home&decided=released")
	for _, server := range []messages.ServerID{"away", "home", "away", "home"} {
		s.comes(server, "c")
	}
	for _, want := range []string{"4", "8"} {
		if e := s.must(next); e.id != want || !strings.Contains(e.data, `"released"`) {
			t.Errorf("%+v, want %s", e, want)
		}
	}
	for _, query := range []string{"?limit=1", "?after=x", "?decided=lost"} {
		if status, _ := s.request(http.MethodGet, "/claims/stream"+query); status != 400 {
			t.Errorf("%s: %d", query, status)
		}
	}
	if status, _ := s.request(http.MethodGet, "/claims/stream", "Last-Event-ID", "x"); status != 400 {
		t.Errorf("a Last-Event-ID that is none: %d", status)
	}
}

// TestStreamSaysWhatItMisses: what the journal has forgotten is a gap, and what follows it follows it.
func TestStreamSaysWhatItMisses(t *testing.T) {
	s := show(t, Config{Journal: 64})
	s.storm(200)
	first := s.relay.Journal().Last() - 63
	next := s.follow("?after=7")
	if e := s.must(next); e.name != "gap" || e.id != fmt.Sprint(first-1) || e.data != fmt.Sprintf(`{"from":8,"to":%d}`, first-1) {
		t.Errorf("%+v, and %d is the first that is kept", e, first)
	}
	if e := s.must(next); e.name != "decision" || e.id != fmt.Sprint(first) {
		t.Errorf("behind the gap: %+v", e)
	}
}

// TestSlowReaderIsDropped, and nobody else.
func TestSlowReaderIsDropped(t *testing.T) {
	s := show(t, Config{Journal: 1 << 12})
	s.pages.feed.pace.SetLimit(rate.Inf)
	next := s.follow("")
	var seen atomic.Int64
	go func() { // a reader that reads; its stream ends with the test
		for e, err := next(); err == nil; e, err = next() {
			n, _ := strconv.ParseInt(e.id, 10, 64)
			seen.Store(n)
		}
	}()
	c := smallWindow(t, s.url)
	if _, err := io.WriteString(c, "GET /claims/stream?after=0 HTTP/1.1\r\nHost: localhost\r\nHurried: 1\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	for _, dropped := s.pages.Streams(); dropped == 0; _, dropped = s.pages.Streams() {
		s.storm(200)
		for seen.Load() < s.relay.Journal().Last()-1<<11 { // it is not to be overtaken
			runtime.Gosched()
		}
	}
	for seen.Load() < s.relay.Journal().Last() {
		runtime.Gosched()
	}
	if now, dropped := s.pages.Streams(); now != 1 || dropped != 1 {
		t.Errorf("%d are left, %d were dropped", now, dropped)
	}
}

func TestStreamsAreLimited(t *testing.T) {
	s := show(t, Config{Journal: 10})
	for range maxStreams {
		if !s.pages.feed.enter() {
			t.Fatal("there is no room already")
		}
	}
	if status, body := s.request(http.MethodGet, "/claims/stream"); status != 503 {
		t.Errorf("one too many: %d %s", status, body)
	}
	s.pages.feed.leave(false)
	s.comes("home", "c")
	if e := s.must(s.follow("?after=0")); e.id != "1" {
		t.Errorf("%+v", e)
	}
}

// TestStreamEndsBehindItsLastEntry: a shutdown is told to its end.
func TestStreamEndsBehindItsLastEntry(t *testing.T) {
	s := show(t, Config{Journal: 1000})
	next := s.follow("")
	for now, _ := s.pages.Streams(); now == 0; now, _ = s.pages.Streams() {
		runtime.Gosched()
	}
	for range 50 {
		s.comes("home", "c")
	}
	s.end()
	for i := 1; i <= 100; i++ {
		if e := s.must(next); e.id != fmt.Sprint(i) {
			t.Fatalf("%+v, want %d", e, i)
		}
	}
	if e, err := next(); err != io.EOF {
		t.Errorf("behind the last: %+v, %v", e, err)
	}
}
