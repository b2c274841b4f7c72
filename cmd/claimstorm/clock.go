package main

import (
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// clock is the run's: everything that is recorded counts from its start. It watches itself, too: a machine that is too busy to let
// a timer fire in time cannot tell a late relay from a late self.
type clock struct {
	began    time.Time
	calendar time.Time     // the same moment, on a clock that may be set
	cpu      time.Duration // used before the run
	stall    atomic.Int64  // the longest that a timer was late
	drift    atomic.Int64  // the most that the calendar was set by
	stop     chan struct{}
	done     chan struct{}

	// Of the run, known when it has halted.
	lasted time.Duration
	used   time.Duration // CPU
	share  float64       // of all cores
}

const stallTick = 10 * time.Millisecond

func startClock() *clock {
	began := time.Now().Add(-time.Nanosecond) // 0 is never
	c := &clock{began: began, calendar: began.Round(0), cpu: cpuTime(), stop: make(chan struct{}), done: make(chan struct{})}
	go c.watch()
	return c
}

// now is the time since the start, more than 0.
func (c *clock) now() time.Duration { return time.Since(c.began) }

// at moves a moment of this machine's calendar onto the clock.
func (c *clock) at(t time.Time) time.Duration { return t.Sub(c.calendar) }

// watch sees how late a goroutine wakes. It ends with halt.
func (c *clock) watch() {
	defer close(c.done)
	timer := time.NewTimer(stallTick)
	defer timer.Stop()
	for {
		due := c.now() + stallTick
		timer.Reset(stallTick)
		select {
		case <-timer.C:
			now := time.Now()
			c.stall.Store(max(c.stall.Load(), int64(now.Sub(c.began)-due)))
			c.drift.Store(max(c.drift.Load(), int64((now.Sub(c.began) - c.at(now.Round(0))).Abs())))
		case <-c.stop:
			return
		}
	}
}

// halt ends the watch, and the run: what follows is not measured.
func (c *clock) halt() {
	close(c.stop)
	<-c.done
	c.lasted, c.used = c.now(), cpuTime()-c.cpu
	c.share = c.used.Seconds() / (c.lasted.Seconds() * float64(runtime.NumCPU()))
}

func (c *clock) stalled() time.Duration { return time.Duration(c.stall.Load()) }

func (c *clock) drifted() time.Duration { return time.Duration(c.drift.Load()) }

// cpuTime is what this process has used so far.
func cpuTime() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// peakMemory is the most that this process ever had resident, in bytes.
func peakMemory() int64 {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	if runtime.GOOS == "darwin" {
		return u.Maxrss
	}
	return u.Maxrss << 10
}
