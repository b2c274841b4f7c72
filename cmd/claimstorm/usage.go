package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// usage is what the relay has used so far.
type usage struct {
	memory int64 // resident, in bytes
	cpu    time.Duration
	source string
}

// relayUsage asks the relay's metrics page, or the system for a process of this machine. Without either there is none.
func (l *load) relayUsage(ctx context.Context, pid int) (usage, error) {
	switch {
	case pid != 0:
		return processUsage(pid)
	case l.Admin != "":
		return metricsUsage(ctx, strings.TrimSuffix(l.Admin, "/")+"/metrics")
	}
	return usage{}, errors.New("neither --admin nor --pid was given")
}

func metricsUsage(ctx context.Context, url string) (usage, error) {
	ctx, cancel := context.WithTimeout(ctx, journalWithin)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return usage{}, fmt.Errorf("ask for metrics: %w", err)
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return usage{}, fmt.Errorf("read metrics: %w", err)
	}
	defer resp.Body.Close()
	u := usage{source: url}
	lines := bufio.NewScanner(io.LimitReader(resp.Body, 16<<20))
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		v, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		switch {
		case err != nil:
		case name == "process_resident_memory_bytes":
			u.memory = int64(v)
		case name == "process_cpu_seconds_total":
			u.cpu = time.Duration(v * float64(time.Second))
		}
	}
	if u.memory == 0 {
		return usage{}, fmt.Errorf("%s (%s) has no process_resident_memory_bytes", url, resp.Status)
	}
	return u, nil
}

// clockTick is the unit of times in /proc, the same on every Linux that Go runs on.
const clockTick = 10 * time.Millisecond

func processUsage(pid int) (usage, error) {
	u := usage{source: fmt.Sprintf("process %d", pid)}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return u, fmt.Errorf("--pid %d: %w", pid, err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ") // behind the name, which may hold anything
	fields := strings.Fields(rest)
	if len(fields) < 22 {
		return u, fmt.Errorf("--pid %d: /proc/%d/stat has %d fields", pid, pid, len(fields))
	}
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	pages, err3 := strconv.ParseInt(fields[21], 10, 64)
	u.cpu, u.memory = time.Duration(user+system)*clockTick, pages*int64(os.Getpagesize())
	return u, errors.Join(err1, err2, err3)
}
