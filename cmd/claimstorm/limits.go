package main

import (
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// spareDescriptors are for what is no connection to the relay: files, the admin pages, the runtime's own.
const spareDescriptors = 64

// checkLimits finds out before a run what would stop it on this side. (Go has raised the soft limit of descriptors to the hard one.)
func checkLimits(links int, loopback bool) error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err == nil && uint64(links+spareDescriptors) > limit.Cur {
		return fmt.Errorf("%d connections at once need %d file descriptors, and this process may have %d: raise it (ulimit -Hn %d, as root), or ask for less",
			links, links+spareDescriptors, limit.Cur, links+spareDescriptors)
	}
	if ports := ephemeralPorts(); !loopback && links > ports {
		return fmt.Errorf("%d connections at once need as many ports of one address, and the system gives %d (sysctl net.ipv4.ip_local_port_range): widen it, or run several claimstorms on several machines",
			links, ports)
	}
	return nil
}

// ephemeralPorts is how many connections one address can have to one relay.
func ephemeralPorts() int {
	b, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	var first, last int
	if err == nil {
		_, err = fmt.Sscan(string(b), &first, &last)
	}
	if err != nil || last < first {
		return 16384 // of IANA
	}
	return last - first + 1
}

// loopbacks is enough addresses of this machine for so many links at once, with room for those that linger in TIME_WAIT. Linux
// answers to all of 127.0.0.0/8; where that is not so, there is but the usual one.
func loopbacks(links int) (sources []net.Addr) {
	const reuse, most = 4, 250
	for i := range min(max(links*reuse/ephemeralPorts()+1, 4), most) {
		source := &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+i))}
		l, err := net.ListenTCP("tcp4", source)
		if err != nil {
			return sources
		}
		_ = l.Close()
		sources = append(sources, source)
	}
	return sources
}
