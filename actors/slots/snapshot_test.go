package slots

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/pyrycode/pyrycode-relay/messages"
)

// TestPagesMissNobodyWhoStays: slots come and go between the pages, and those that are there all the time are in one of them.
func TestPagesMissNobodyWhoStays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := storyTimes
		cfg.Grace = 0 // a release frees at once
		m, held, token := New(start, cfg), map[messages.ServerID]messages.Epoch{}, messages.ClaimToken(0)
		toggle := func(n int) messages.ServerID {
			server := messages.ServerID(fmt.Sprint("s", n))
			if epoch, ok := held[server]; ok {
				m.Step(start, messages.Release{Server: server, From: "a", Epoch: epoch})
				delete(held, server)
				return server
			}
			token++
			m.Step(start, messages.Claim{Server: server, From: "a", Token: token, Conn: "c"})
			held[server] = m.epoch
			return server
		}
		some := rapid.SliceOfN(rapid.IntRange(0, 30), 0, 40)
		for _, n := range some.Draw(t, "before") {
			toggle(n)
		}
		stays := map[messages.ServerID]bool{}
		for server := range held {
			stays[server] = true
		}
		page := make([]Snapshot, rapid.IntRange(1, 5).Draw(t, "page"))
		seen := map[messages.ServerID]bool{}
		for below := m.Len(); below > 0; {
			n, next := m.Page(below, page)
			for _, s := range page[:n] {
				seen[s.Server()] = true
				if err := s.Check(); err != nil || s.State() != Held || s.Holder() != "c" {
					t.Fatalf("%v: %+v", err, s)
				}
			}
			if below = next; below > 0 {
				for _, n := range some.Draw(t, "meanwhile") {
					delete(stays, toggle(n))
				}
			}
			if err := m.Check(); err != nil {
				t.Fatal(err)
			}
		}
		for server := range stays {
			if !seen[server] {
				t.Fatalf("%s was there all the time, and is in no page", server)
			}
		}
	})
}

// TestSnapshotStays as it was, whatever comes after it.
func TestSnapshotStays(t *testing.T) {
	m := New(start, storyTimes)
	claim := func(conn messages.ConnID, token messages.ClaimToken) {
		m.Step(start, messages.Claim{Server: "alpha", From: messages.Address(conn), Token: token, Conn: conn})
	}
	claim("a", 1)
	claim("b", 2)
	m.Step(start, messages.Join{Server: "alpha", From: "p", Token: 9, Conn: "p"})
	s, ok := m.One("alpha")
	before := fmt.Sprint(s.State(), s.Waiting(), s.Phones(), s.Holder(), s.Epoch(), s.Since())
	m.Step(start, messages.Withdraw{Server: "alpha", From: "b", Token: 2})
	claim("c", 3)
	claim("d", 4)
	m.Step(start, messages.Leave{Server: "alpha", From: "p", Token: 9})
	m.Step(start, messages.Release{Server: "alpha", From: "a", Epoch: 1})
	if after := fmt.Sprint(s.State(), s.Waiting(), s.Phones(), s.Holder(), s.Epoch(), s.Since()); !ok || after != before || s.waiting[0].conn != "b" {
		t.Errorf("was %s, is %s, %+v waits", before, after, s.waiting)
	}
	if _, ok := m.One("beta"); ok {
		t.Error("a slot that is free is there")
	}
}

func TestStates(t *testing.T) {
	cfg := storyTimes
	cfg.StartupGrace = cfg.Grace
	m := New(start, cfg)
	is := func(want State) {
		t.Helper()
		if s, _ := m.One("alpha"); s.State() != want || s.State() != "" && s.Since().IsZero() {
			t.Errorf("%q, since %v; want %q", s.State(), s.Since(), want)
		}
	}
	is("")
	m.Step(start, messages.Join{Server: "alpha", From: "p", Token: 9, Conn: "p"})
	is(WaitingForBinary)
	m.Step(start, messages.Claim{Server: "alpha", From: "a", Token: 1, Conn: "a"})
	is(Held)
	m.Step(start, messages.Claim{Server: "alpha", From: "b", Token: 2, Conn: "b"})
	is(Probing)
	m.Step(start, messages.Withdraw{Server: "alpha", From: "b", Token: 2})
	is(Held)
	m.Step(start, messages.OperatorRelease{Server: "alpha"})
	is(Grace)
}
