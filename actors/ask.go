package actors

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/pyrycode/pyrycode-relay/actors/slots"
	"github.com/pyrycode/pyrycode-relay/messages"
)

// pageSize is how many slots the registry copies at a time: so long, some tens of microseconds, may a claim have to wait for it.
const pageSize = 256

// ErrOver is the answer to whoever asks a registry that has ended.
var ErrOver = errors.New("the relay has shut down")

// Census is every slot, and the counts beside them.
type Census struct {
	Slots           []slots.Snapshot // by server-id, each once
	Holders, Phones int              // as the relay counts them, when the last page was taken
	Meanwhile       int              // messages that the registry handled between the first page and the last
}

// Census asks the living registry for every slot. It takes turns with the other messages, so a census of many slots is not of
// one moment. Any goroutine may call it but an actor's.
func (r *Relay) Census(ctx context.Context) (c Census, err error) {
	places := map[messages.ServerID]int{} // in c.Slots
	first, answer := int64(-1), make(chan view, 1)
	for below := int(^uint(0) >> 1); below > 0; {
		r.system.Root.Send(r.registryPID, look{below, make([]slots.Snapshot, pageSize), answer})
		v, err := waitFor(ctx, r, answer)
		if err != nil {
			return c, err
		}
		if first < 0 {
			first = v.handled
		}
		c.Holders, c.Phones, c.Meanwhile = int(v.holders), int(v.phones), int(v.handled-first)
		for _, s := range v.page {
			if i, known := places[s.Server()]; known {
				c.Slots[i] = s
				continue
			}
			places[s.Server()] = len(c.Slots)
			c.Slots = append(c.Slots, s)
		}
		below = v.next
	}
	slices.SortFunc(c.Slots, func(a, b slots.Snapshot) int { return cmp.Compare(a.Server(), b.Server()) })
	return c, nil
}

// Release has the operator throw out whoever holds the slot of server, and gives the journal's entry of it; ok is false where
// nobody holds it. Any goroutine may call it but an actor's.
func (r *Relay) Release(ctx context.Context, server messages.ServerID) (e slots.Entry, ok bool, err error) {
	e, err = r.await(ctx, messages.OperatorRelease{Server: server})
	return e, e.Decided == slots.Released, err
}

// await has the registry handle m, and gives the first entry that it made of it.
func (r *Relay) await(ctx context.Context, m messages.ToRegistry) (slots.Entry, error) {
	handled := make(chan slots.Entry, 1)
	r.system.Root.Send(r.registryPID, awaited{m, handled})
	return waitFor(ctx, r, handled)
}

func waitFor[A any](ctx context.Context, r *Relay, answer <-chan A) (a A, err error) {
	select {
	case a = <-answer:
		return a, nil
	case <-ctx.Done():
		return a, context.Cause(ctx)
	case <-r.over:
		return a, ErrOver
	}
}
