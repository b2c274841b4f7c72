package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// lookout asks the relay for a page that costs nothing, again and again, on a connection of its own. How long that takes at worst is
// how late the relay's machine lets anything be: no bound of the contract is held against a machine that has no time.
type lookout struct {
	worst atomic.Int64
	stop  context.CancelFunc
	done  sync.WaitGroup
}

const lookoutEvery = 10 * time.Millisecond

func (s *session) post(ctx context.Context) *lookout {
	o := &lookout{}
	ctx, o.stop = context.WithCancel(context.WithoutCancel(ctx))
	o.done.Go(func() {
		for pause(ctx, lookoutEvery) {
			o.watch(ctx, s)
		}
	})
	return o
}

// watch asks until something goes wrong: a connection that ends is no news.
func (o *lookout) watch(ctx context.Context, s *session) {
	conn, err := s.fleet.connect(ctx)
	if err != nil {
		s.dialled(err)
		return
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	request := fmt.Sprintf("GET %s/healthz HTTP/1.1\r\nHost: %s\r\nUser-Agent: claimstorm\r\n\r\n", s.fleet.prefix, s.fleet.host)
	answers := bufio.NewReader(conn)
	for pause(ctx, lookoutEvery) {
		asked := s.clock.now()
		if _, err := io.WriteString(conn, request); err != nil {
			return
		}
		resp, err := http.ReadResponse(answers, nil)
		if err == nil {
			_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
		}
		if err != nil {
			return
		}
		o.worst.Store(max(o.worst.Load(), int64(s.clock.now()-asked)))
	}
}

// relieve ends it, and says how long it had to wait at most.
func (o *lookout) relieve() time.Duration {
	o.stop()
	o.done.Wait()
	return time.Duration(o.worst.Load())
}
