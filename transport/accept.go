package transport

import (
	"bufio"
	"net"
	"net/http"
	"syscall"

	"github.com/coder/websocket"
)

// accept upgrades a request by the library's handshake and takes the connection from there: frames are read and written here
// (docs/decisions/0004). Where the handshake fails the response has been written.
func (set *sockets) accept(w http.ResponseWriter, r *http.Request, kind *socketKind) (*socket, error) {
	h := &hijacker{ResponseWriter: w}
	// Any Origin: a page in a browser cannot set the headers of docs/protocol.md 1, so it never comes past the gate.
	c, err := websocket.Accept(h, r, &websocket.AcceptOptions{InsecureSkipVerify: true, CompressionMode: websocket.CompressionDisabled})
	if err != nil {
		return nil, err
	}
	_ = c.CloseNow() // of the library's end only, see detached: it would stay for ever, by its finalizer
	s := &socket{set: set, kind: kind, conn: h.conn, early: h.early}
	s.paused.Store(kind.paused)
	s.heard.Store(set.now())
	if set.poll != nil {
		if sc, ok := h.conn.(syscall.Conn); ok {
			if s.raw, err = sc.SyscallConn(); err != nil {
				_ = h.conn.Close()
				return nil, err
			}
		}
	}
	set.remember(s)
	return s, nil
}

// hijacker hands the library a connection that it can write its response to and no more, and keeps the real one.
type hijacker struct {
	http.ResponseWriter
	conn  net.Conn
	early []byte // what the client sent behind its request
}

func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	h.conn = conn
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
