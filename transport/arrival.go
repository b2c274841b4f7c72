package transport

import (
	"bufio"
	"bytes"
	"container/list"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pires/go-proxyproto"
)

// arrival is a TCP connection from its accept on. What has to come of it before its first request is known (a PROXY header, a TLS
// handshake, the headers of the request) has one time limit for all. When it is upgraded, its socket takes the TCP connection
// out of it; over TLS the arrival stays, below.
type arrival struct {
	net.Conn
	until time.Time // no read may last longer, as long as nothing was requested
	proxy proxyHeader
	early []byte // was read together with the PROXY header, and follows it

	requested atomic.Bool
	since     time.Time // when it came to the door, or its latest request; guarded by the door's mutex

	// From here on of connections below TLS only, and the reader's.
	raw syscall.RawConn // nil where reads always wait
	now bool            // a read is not to wait: it gives EAGAIN, which TLS takes as no end
}

// proxyHeader is what is known of where a connection comes from, by the proxy before it.
type proxyHeader struct {
	kind proxyKind
	once sync.Once
	from net.Addr // as the header says; nil: the peer itself
	err  error
}

type proxyKind uint8

const (
	noProxy       proxyKind = iota
	proxyRequired           // without a header the connection ends
	proxyOptional           // a header is passed over
)

// SetDeadline implements net.Conn.
func (a *arrival) SetDeadline(t time.Time) error {
	if err := a.SetReadDeadline(t); err != nil {
		return err
	}
	return a.SetWriteDeadline(t)
}

// SetReadDeadline implements net.Conn.
func (a *arrival) SetReadDeadline(t time.Time) error {
	if !a.requested.Load() && (t.IsZero() || t.After(a.until)) {
		t = a.until
	}
	return a.Conn.SetReadDeadline(t)
}

// RemoteAddr implements net.Conn. It may have to wait for the PROXY header.
func (a *arrival) RemoteAddr() net.Addr {
	if a.header(); a.proxy.from != nil {
		return a.proxy.from
	}
	return a.Conn.RemoteAddr()
}

// Read implements net.Conn.
func (a *arrival) Read(p []byte) (n int, err error) {
	if a.header(); a.proxy.err != nil {
		return 0, a.proxy.err
	}
	if len(a.early) > 0 {
		n = copy(p, a.early)
		if a.early = a.early[n:]; len(a.early) == 0 {
			a.early = nil
		}
		return n, nil
	}
	if !a.now {
		return a.Conn.Read(p)
	}
	if rerr := a.raw.Read(func(fd uintptr) bool {
		n, err = syscall.Read(int(fd), p)
		return true
	}); rerr != nil {
		return 0, rerr
	}
	switch {
	case err == syscall.EINTR:
		return 0, syscall.EAGAIN
	case err != nil:
		return 0, err
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// unread reports whether something of a first request has come that nobody has read yet.
func (a *arrival) unread() (some bool) {
	tcp, ok := a.Conn.(syscall.Conn)
	if !ok || a.requested.Load() {
		return false
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return false
	}
	_ = raw.Control(func(fd uintptr) { // Read would wait for the one that reads
		var b [1]byte
		n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		some = err == nil && n > 0
	})
	return some
}

// header reads the PROXY header, once.
func (a *arrival) header() {
	if a.proxy.kind != noProxy {
		a.proxy.once.Do(a.readHeader)
	}
}

func (a *arrival) readHeader() {
	_ = a.SetReadDeadline(time.Time{})
	br := bufio.NewReaderSize(a.Conn, 256)
	wholeLine(br)
	unspecified(br)
	h, err := proxyproto.Read(br)
	switch {
	case err == nil && h.Command.IsProxy():
		if tcp, _, ok := h.TCPAddrs(); ok {
			a.proxy.from = tcp
		}
	case err != nil && (a.proxy.kind != proxyOptional || !errors.Is(err, proxyproto.ErrNoProxyProtocol)):
		a.proxy.err = io.EOF // HTTP would answer any other with a 400
		return
	}
	a.early, _ = br.Peek(br.Buffered())
}

// wholeLine waits for all of a version 1 header: the library takes one that comes in pieces for none.
func wholeLine(br *bufio.Reader) {
	const longest = 107
	for n := len(proxyproto.SIGV1); n <= longest; n = br.Buffered() + 1 {
		if _, err := br.Peek(n); err != nil {
			return
		}
		b, _ := br.Peek(br.Buffered())
		if !bytes.HasPrefix(b, proxyproto.SIGV1) || bytes.IndexByte(b, '\n') >= 0 {
			return
		}
	}
}

// unspecified makes a version 2 header of command PROXY and family AF_UNSPEC one of command LOCAL, which says the same: the library
// refuses the former. What else there is it leaves to the library.
func unspecified(br *bufio.Reader) {
	const command, family = 12, 13
	if b, err := br.Peek(family + 1); err == nil && bytes.HasPrefix(b, proxyproto.SIGV2) &&
		b[command] == byte(proxyproto.PROXY) && b[family] == byte(proxyproto.UNSPEC) {
		b[command] = byte(proxyproto.LOCAL)
	}
}

// patience is how long a connection may be at the door before it may have to go: the round trips of a TLS handshake.
const patience = 250 * time.Millisecond

// door holds the connections that have arrived and are no WebSockets: not yet, or never. There is room for so many. Who comes
// when it is full waits to be accepted until somebody leaves, or the one that has been there for the longest time without a
// request has had its time, and has to go. So a whole fleet that dials at once gets in, as fast as it can be served, and who
// says nothing, or slowly, keeps out nobody, however many he is.
type door struct {
	room     int
	patience time.Duration
	lost     atomic.Int64 // ended before a request had come of them
	out      atomic.Int64 // had to go for want of room

	mu     sync.Mutex // guards what follows
	left   sync.Cond  // somebody has left, or has had its time
	inside list.List  // of *arrival, by since
	places map[*arrival]*list.Element
}

func newDoor(room int) *door {
	d := &door{room: room, patience: patience, places: make(map[*arrival]*list.Element)}
	d.left.L = &d.mu
	return d
}

// enter waits until there is a place for a.
func (d *door) enter(a *arrival) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.inside.Len() >= d.room {
		longest := d.inside.Front().Value.(*arrival)
		switch due := d.patience - time.Since(longest.since); {
		case due > 0:
			d.wait(due)
		case longest.unread():
			d.renew(longest) // it is the relay that was slow
		default:
			d.remove(longest)
			d.out.Add(1)
			_ = longest.Close() // whoever serves it finds out
		}
	}
	a.since = time.Now()
	d.places[a] = d.inside.PushBack(a)
}

// wait waits until somebody has left, at most for so long. Of a door that is locked.
func (d *door) wait(due time.Duration) {
	timer := time.AfterFunc(due, func() {
		d.mu.Lock() // or it could come before the Wait
		defer d.mu.Unlock()
		d.left.Broadcast()
	})
	d.left.Wait()
	timer.Stop()
}

// renew begins a's time anew.
func (d *door) renew(a *arrival) {
	if e := d.places[a]; e != nil {
		a.since = time.Now()
		d.inside.MoveToBack(e)
	}
}

func (d *door) remove(a *arrival) {
	if e := d.places[a]; e != nil {
		delete(d.places, a)
		d.inside.Remove(e)
		d.left.Broadcast()
	}
}

// arrivalKey is under what a request's context has its arrival.
type arrivalKey struct{}

// guard has srv tell the door where its connections stand.
func (d *door) guard(srv *http.Server) {
	srv.ConnState = d.follow
	srv.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		return context.WithValue(ctx, arrivalKey{}, arrivalOf(c))
	}
	h := srv.Handler
	srv.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Context().Value(arrivalKey{}).(*arrival).requested.Store(true)
		h.ServeHTTP(w, r)
	})
}

func arrivalOf(c net.Conn) *arrival {
	if secure, ok := c.(*tls.Conn); ok {
		c = secure.NetConn()
	}
	return c.(*arrival)
}

// follow is net/http's hook: where a connection stands. To it one is active of which some bytes have come, whatever they are.
func (d *door) follow(c net.Conn, state http.ConnState) {
	a := arrivalOf(c)
	d.mu.Lock()
	defer d.mu.Unlock()
	switch state {
	case http.StateActive:
		d.renew(a)
	case http.StateHijacked:
		d.remove(a)
	case http.StateClosed:
		if !a.requested.Load() {
			d.lost.Add(1)
		}
		d.remove(a)
	}
}

// listener accepts for the relay.
type listener struct {
	net.Listener
	name, what, addr string // in logs, in errors, and where to listen
	handler          http.Handler

	door    *door         // nil where connections are taken as they come
	within  time.Duration // how long what comes before a request may take, at the door
	tls     *tls.Config   // nil for plain TCP
	proxy   proxyKind
	trusted networks // who may send PROXY headers
}

// Accept implements net.Listener. It waits for connections, and for room at the door.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil || l.door == nil {
			return c, err
		}
		a := &arrival{Conn: c, until: time.Now().Add(l.within)}
		if l.proxy != noProxy && l.mayAnnounce(c) {
			a.proxy.kind = l.proxy
		} else if l.proxy == proxyRequired {
			_ = c.Close()
			continue
		}
		l.door.enter(a)
		if l.tls == nil {
			return a, nil
		}
		return tls.Server(a, l.tls), nil
	}
}

func (l *listener) mayAnnounce(c net.Conn) bool {
	ap, err := netip.ParseAddrPort(c.RemoteAddr().String())
	return err == nil && l.trusted.has(plainAddr(ap.Addr()))
}
