package actors

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/pyrycode/pyrycode-relay/messages"
)

// TestCensusHasEverySlotOnce, by its name, however many pages it takes.
func TestCensusHasEverySlotOnce(t *testing.T) {
	r := start(t, Config{})
	const n = 3*pageSize + 7
	for i := range n {
		l := newLine().claims(r, messages.ServerID(fmt.Sprintf("s%04d", i)), "c")
		defer l.ends()
	}
	c, err := r.Census(t.Context())
	if err != nil || len(c.Slots) != n || c.Holders != n || c.Meanwhile != 0 {
		t.Fatalf("%v, %d slots, %d holders, %d meanwhile", err, len(c.Slots), c.Holders, c.Meanwhile)
	}
	for i := range c.Slots {
		if want := messages.ServerID(fmt.Sprintf("s%04d", i)); c.Slots[i].Server() != want {
			t.Fatalf("%s in the place of %s", c.Slots[i].Server(), want)
		}
	}
}

// TestWhoAsksDoesNotWaitForEver: neither beyond his own time, nor for a relay that has ended.
func TestWhoAsksDoesNotWaitForEver(t *testing.T) {
	r := start(t, Config{})
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := r.Release(gone, "home"); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("a release by one who has gone: %v", err)
	}
	if _, ok, err := r.Release(t.Context(), "home"); ok || err != nil {
		t.Errorf("a release of a free slot: %v, %v", ok, err)
	}
	r.ShutDown()
	r.Stop()
	if _, err := r.Census(t.Context()); !errors.Is(err, ErrOver) {
		t.Errorf("a census of a relay that has ended: %v", err)
	}
	if _, _, err := r.Release(t.Context(), "home"); !errors.Is(err, ErrOver) {
		t.Errorf("a release by a relay that has ended: %v", err)
	}
}
