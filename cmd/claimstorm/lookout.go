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
	lived atomic.Int64 // the time that went by, without what any answer took beyond lookoutPatient
	stop  context.CancelFunc
	done  sync.WaitGroup
}

const (
	lookoutEvery   = 10 * time.Millisecond
	lookoutPatient = 100 * time.Millisecond
)

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
	asked := s.clock.now()
	conn, err := s.fleet.connect(ctx)
	o.waited(s.clock.now() - asked)
	if err != nil {
		s.dialled(err)
		return
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	request := fmt.Sprintf("GET %s/healthz HTTP/1.1\r\nHost: %s\r\nUser-Agent: claimstorm\r\n\r\n", s.fleet.prefix, s.fleet.host)
	answers := bufio.NewReader(conn)
	for last := s.clock.now(); pause(ctx, lookoutEvery); {
		asked := s.clock.now()
		err := ask(conn, request, answers)
		now := s.clock.now()
		o.waited(now - asked)
		if err != nil {
			return
		}
		o.lived.Add(int64(min(now-last, lookoutPatient)))
		last = now
	}
}

func ask(conn io.Writer, request string, answers *bufio.Reader) error {
	if _, err := io.WriteString(conn, request); err != nil {
		return err
	}
	resp, err := http.ReadResponse(answers, nil)
	if err == nil {
		_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	}
	return err
}

// waited counts what had no answer in the end, too: the relay may have stood still when the run was over.
func (o *lookout) waited(d time.Duration) { o.worst.Store(max(o.worst.Load(), int64(d))) }

// relieve ends it, and says how long it had to wait at most.
func (o *lookout) relieve() time.Duration {
	o.stop()
	o.done.Wait()
	return time.Duration(o.worst.Load())
}

// patience is how long a thing may take: time in which this machine or the relay's stood still does not count.
type patience struct {
	o     *lookout
	lived time.Duration
	late  time.Time // whatever the lookout says
}

func (o *lookout) patience(d time.Duration) patience {
	return patience{o, time.Duration(o.lived.Load()) + d, time.Now().Add(d + handshakeWithin)}
}

func (p patience) over() bool { return p.left() <= 0 }

func (p patience) left() time.Duration {
	return min(p.lived-time.Duration(p.o.lived.Load()), time.Until(p.late))
}

// await waits for what is hoped for, until it cannot happen any more or patience is over, and says whether it happened.
func (p patience) await(hoped, vain <-chan struct{}) bool {
	for last := false; ; last = last || p.over() {
		select {
		case <-hoped:
			return true
		default:
		}
		if last {
			return false
		}
		timer := time.NewTimer(max(p.left(), lookoutEvery)) // no less goes by
		select {
		case <-hoped:
		case <-vain:
			last = true
		case <-timer.C:
		}
		timer.Stop()
	}
}
