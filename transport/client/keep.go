package client

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// Backoff bounds the waiting between two tries: it doubles from Least to Most, and is drawn from the upper half, so that
// a relay that comes back is not met by all its clients at once. A 0 stands for that of DefaultBackoff.
type Backoff struct{ Least, Most time.Duration }

// DefaultBackoff is what docs/protocol.md 1 asks for.
var DefaultBackoff = Backoff{Least: time.Second, Most: time.Minute}

// Keep holds a connection for as long as that makes sense. It dials, lets serve use the connection until that returns, and dials
// again. It returns ctx's error once that has ended, and else the first error that does not advise to try again: those
// of dial and serve pass through as they are. A nil of serve is a reason to dial again.
//
// A connection that lived for longer than b.Most sets the back-off back, and is followed by the next at once; where the relay said how
// long to wait (Retry-After), that counts if it is more.
func Keep[C interface{ CloseNow() }](ctx context.Context, b Backoff, dial func(context.Context) (C, error), serve func(context.Context, C) error) error {
	b.Least, b.Most = cmp.Or(b.Least, DefaultBackoff.Least), cmp.Or(b.Most, DefaultBackoff.Most)
	wait := time.Duration(0)
	for {
		began := time.Now()
		c, err := dial(ctx)
		if err == nil {
			err = serve(ctx, c)
			c.CloseNow()
			if time.Since(began) > b.Most {
				wait = 0
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil && Advise(err) != Retry {
			return err
		}
		if time.Since(began) <= b.Most {
			wait = min(max(b.Least, 2*wait), b.Most)
		}
		if err := sleep(ctx, max(jitter(wait), asked(err))); err != nil {
			return err
		}
	}
}

// jitter draws from the upper half of d.
func jitter(d time.Duration) time.Duration { return d - rand.N(d/2+1) }

// asked is what the relay asked to wait.
func asked(err error) time.Duration {
	if he, ok := errors.AsType[*HTTPError](err); ok {
		return he.RetryAfter
	}
	return 0
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
