package transport

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"net"
	"net/http"
	"syscall"

	"github.com/coder/websocket"
)

// accept upgrades a request by the library's handshake and takes the connection from there: frames are read and written here
// (docs/decisions/0004). Where the handshake fails the answer has been written; else greet will, and gone is called once the connection is gone.
func (set *sockets) accept(w http.ResponseWriter, r *http.Request, kind *socketKind, gone func()) (*socket, error) {
	h := &hijacker{ResponseWriter: w}
	// Any Origin: a page in a browser cannot set the headers of docs/protocol.md 1, so it never comes past the gate.
	c, err := websocket.Accept(h, r, &websocket.AcceptOptions{InsecureSkipVerify: true, CompressionMode: websocket.CompressionDisabled})
	if err != nil {
		return nil, err
	}
	_ = c.CloseNow() // of the library's end only, see detached: it would stay for ever, by its finalizer
	s := &socket{set: set, kind: kind, conn: h.conn, early: h.early, gone: gone, out: outbox{rest: h.answer, writing: true}}
	s.unwrap()
	s.paused.Store(kind.paused)
	s.heard.Store(set.now())
	if set.poll != nil {
		if sc, ok := s.tcp().(syscall.Conn); ok {
			if s.raw, err = sc.SyscallConn(); err != nil {
				_ = s.tcp().Close()
				return nil, err
			}
			if s.below != nil {
				s.below.raw = s.raw
			}
		}
	}
	set.remember(s)
	return s, nil
}

// unwrap takes the TCP connection out of what it arrived in. Over TLS it stays in there, below.
func (s *socket) unwrap() {
	switch c := s.conn.(type) {
	case *arrival:
		s.conn, s.early = c.Conn, append(s.early, c.early...)
	case *tls.Conn:
		s.below, _ = c.NetConn().(*arrival)
	}
}

// tcp is the connection that the socket's own runs over, or is.
func (s *socket) tcp() net.Conn {
	if s.below != nil {
		return s.below.Conn
	}
	return s.conn
}

// direct: what is read and written is what goes over the descriptor.
func (s *socket) direct() bool { return s.raw != nil && s.below == nil }

// hijacker hands the library a connection to let go of, and keeps the real one, with the answer to the upgrade.
type hijacker struct {
	http.ResponseWriter
	conn   net.Conn
	answer []byte // to the upgrade, not written yet
	early  []byte // what the client sent behind its request
}

// WriteHeader implements http.ResponseWriter.
func (h *hijacker) WriteHeader(status int) {
	if status != http.StatusSwitchingProtocols { // which is what Hijack is for
		h.ResponseWriter.WriteHeader(status)
	}
}

func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	h.conn = conn
	answer := bytes.NewBufferString("HTTP/1.1 101 Switching Protocols\r\n")
	_ = h.Header().Write(answer) // to memory
	answer.WriteString("\r\n")
	h.answer = answer.Bytes()
	if n := rw.Reader.Buffered(); n > 0 {
		b, _ := rw.Peek(n)
		h.early = append([]byte(nil), b...)
	}
	d := detached{conn}
	return d, bufio.NewReadWriter(bufio.NewReaderSize(d, 16), bufio.NewWriterSize(d, 16)), nil
}

// detached is a connection that cannot be closed from here.
type detached struct{ net.Conn }

func (detached) Close() error { return nil }
