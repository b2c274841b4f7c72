package main

import (
	"bufio"
	"crypto/rand"
	"crypto/sha1"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// The opcodes of RFC 6455 5.2.
const (
	opContinuation = 0
	opText         = 1
	opBinary       = 2
	opClose        = 8
	opPing         = 9
	opPong         = 10
)

// link is one connection, from the request on, by code of our own: no library stands between the relay and what is recorded of it,
// a claim can be made by its last byte, and a violation of RFC 6455 is told, not mended.
//
// One goroutine reads; any may write.
type link struct {
	conn net.Conn
	br   *bufio.Reader
	key  string // Sec-WebSocket-Key
	last []byte // the end of the request, until release

	message []byte // the reader's: what has come of a fragmented message, or the last message
	partial bool   // the reader's: a fragmented message is under way
	control [125]byte

	mu  sync.Mutex // guards out, held across a write
	out []byte
}

// wireFault is what a relay may not do by RFC 6455 or by docs/protocol.md.
type wireFault string

func (f wireFault) Error() string { return string(f) }

func faultf(format string, args ...any) error { return wireFault(fmt.Sprintf(format, args...)) }

// noUpgrade is an answer to the request that is none of ours.
type noUpgrade struct {
	status     int
	retryAfter string
}

func (e *noUpgrade) Error() string {
	s := fmt.Sprintf("%d %s in place of an upgrade", e.status, http.StatusText(e.status))
	if e.retryAfter != "" {
		s += " (try again in " + e.retryAfter + " s)"
	}
	return s
}

// newLink sends a request on conn, but for its last byte.
func newLink(conn net.Conn, host, path string, headers []string, readBuffer int) (*link, error) {
	var nonce [16]byte
	_, _ = rand.Read(nonce[:]) // never fails
	l := &link{conn: conn, br: bufio.NewReaderSize(conn, readBuffer), key: base64.StdEncoding.EncodeToString(nonce[:])}
	var b strings.Builder
	fmt.Fprintf(&b, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\nUser-Agent: claimstorm\r\n", path, host, l.key)
	for _, h := range headers {
		b.WriteString(h + "\r\n")
	}
	b.WriteString("\r\n")
	request := []byte(b.String())
	l.last = request[len(request)-1:]
	_, err := conn.Write(request[:len(request)-1])
	return l, err
}

// release sends the request's last byte: the claim is made.
func (l *link) release() error {
	_, err := l.conn.Write(l.last)
	l.last = nil
	return err
}

// upgraded reads the answer to the request: nil, a *noUpgrade, a wireFault, or what became of the connection.
func (l *link) upgraded() error {
	resp, err := http.ReadResponse(l.br, nil)
	if err != nil {
		return err
	}
	sum := sha1.Sum([]byte(l.key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	switch h := resp.Header; {
	case resp.StatusCode != http.StatusSwitchingProtocols:
		return &noUpgrade{resp.StatusCode, h.Get("Retry-After")}
	case !strings.EqualFold(h.Get("Upgrade"), "websocket") || !strings.EqualFold(h.Get("Connection"), "upgrade"):
		return faultf("101 without Upgrade: websocket and Connection: Upgrade")
	case h.Get("Sec-WebSocket-Accept") != base64.StdEncoding.EncodeToString(sum[:]):
		return faultf("101 with Sec-WebSocket-Accept %q, which does not answer our key", h.Get("Sec-WebSocket-Accept"))
	case h.Get("Sec-WebSocket-Extensions") != "" || h.Get("Sec-WebSocket-Protocol") != "":
		return faultf("101 with an extension or a subprotocol that nobody asked for")
	}
	return nil
}

// next reads a control frame or a whole message. What it returns is good until the next call.
func (l *link) next() (opcode byte, payload []byte, err error) {
	for {
		fin, op, length, err := l.header()
		if err != nil {
			return 0, nil, err
		}
		if op >= opClose {
			_, err := io.ReadFull(l.br, l.control[:length])
			return op, l.control[:length], inside(err)
		}
		if (op == opContinuation) != l.partial {
			return 0, nil, faultf("a frame with opcode %d, a fragmented message under way: %v (RFC 6455 5.4)", op, l.partial)
		}
		if !l.partial {
			l.message = l.message[:0]
		}
		at := len(l.message)
		if int64(at)+length > maxMessage {
			return 0, nil, faultf("a message of more than %d bytes", maxMessage)
		}
		if need := at + int(length); cap(l.message) < need {
			l.message = append(make([]byte, 0, need), l.message...)
		}
		l.message = l.message[:at+int(length)]
		if _, err := io.ReadFull(l.br, l.message[at:]); err != nil {
			return 0, nil, inside(err)
		}
		if l.partial = !fin; fin {
			return opText, l.message, nil
		}
	}
}

// header reads the beginning of a frame.
func (l *link) header() (fin bool, op byte, length int64, err error) {
	var b [8]byte
	if b[0], err = l.br.ReadByte(); err != nil {
		if errors.Is(err, io.EOF) && l.partial {
			err = io.ErrUnexpectedEOF
		}
		return false, 0, 0, err
	}
	fin, op = b[0]&0x80 != 0, b[0]&0x0f
	if b[1], err = l.br.ReadByte(); err != nil {
		return false, 0, 0, inside(err)
	}
	length = int64(b[1] & 0x7f)
	switch {
	case b[0]&0x70 != 0:
		return false, 0, 0, faultf("a frame with reserved bits, without an extension (RFC 6455 5.2)")
	case b[1]&0x80 != 0:
		return false, 0, 0, faultf("a masked frame (RFC 6455 5.1)")
	case op > opBinary && op < opClose || op > opPong:
		return false, 0, 0, faultf("a frame with opcode %d (RFC 6455 5.2)", op)
	case op >= opClose && (!fin || length > 125):
		return false, 0, 0, faultf("a control frame that is fragmented or too long (RFC 6455 5.5)")
	case length == 126:
		_, err = io.ReadFull(l.br, b[:2])
		length = int64(binary.BigEndian.Uint16(b[:2]))
	case length == 127:
		_, err = io.ReadFull(l.br, b[:8])
		length = int64(binary.BigEndian.Uint64(b[:8]))
	}
	if length < 0 {
		return false, 0, 0, faultf("a frame of 2^63 bytes or more (RFC 6455 5.2)")
	}
	return fin, op, length, inside(err)
}

// inside makes an end of the stream in the middle of a frame one that was not expected.
func inside(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// closing is what a close frame says; the code is 1005 where it has none.
func closing(payload []byte) (code int, reason string, err error) {
	if len(payload) == 0 {
		return 1005, "", nil
	}
	if len(payload) == 1 || !utf8.Valid(payload[2:]) {
		return 0, "", faultf("a close frame with the payload %q (RFC 6455 5.5.1)", payload)
	}
	return int(binary.BigEndian.Uint16(payload)), string(payload[2:]), nil
}

// writeWithin bounds a write: the relay reads what a claimant sends at once, and a phone's frames when their binary takes them.
const writeWithin = 30 * time.Second

// write sends one frame.
func (l *link) write(opcode byte, payload []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.out = appendFrame(l.out[:0], opcode, payload)
	_ = l.conn.SetWriteDeadline(time.Now().Add(writeWithin))
	_, err := l.conn.Write(l.out)
	if cap(l.out) > 4<<10 && len(payload) < 1<<10 {
		l.out = nil // an idle claim keeps nothing
	}
	return err
}

// writeAll sends frames that appendFrame has made.
func (l *link) writeAll(frames []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.conn.SetWriteDeadline(time.Now().Add(writeWithin))
	_, err := l.conn.Write(frames)
	return err
}

func (l *link) writeClose(code int, reason string) error {
	return l.write(opClose, append(binary.BigEndian.AppendUint16(nil, uint16(code)), reason...))
}

// cut ends the connection without a word: by FIN, or by a reset.
func (l *link) cut(reset bool) {
	if reset {
		conn := l.conn
		if t, ok := conn.(interface{ NetConn() net.Conn }); ok { // TLS
			conn = t.NetConn()
		}
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
			_ = tcp.Close()
		}
	}
	_ = l.conn.Close()
}

// appendFrame appends a frame as a client sends it: masked, by a key that nobody can foresee (RFC 6455 5.3).
func appendFrame(b []byte, opcode byte, payload []byte) []byte {
	b = append(b, 0x80|opcode)
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	word := mathrand.Uint32()
	b = binary.LittleEndian.AppendUint32(b, word)
	at := len(b)
	b = append(b, payload...)
	masked, wide := b[at:], uint64(word)<<32|uint64(word)
	for len(masked) >= 8 {
		binary.LittleEndian.PutUint64(masked, binary.LittleEndian.Uint64(masked)^wide)
		masked = masked[8:]
	}
	for i := range masked { // fewer than 8, and 8 is a multiple of the key's length
		masked[i] ^= byte(word >> (8 * (i % 4)))
	}
	return b
}

// explain says why a connection could not be made, or how it ended, in a few words.
func explain(err error) string {
	var op *net.OpError
	var stranger x509.UnknownAuthorityError
	switch {
	case err == nil:
		return "nothing wrong"
	case errors.Is(err, io.EOF):
		return "the relay ended the connection without a close frame"
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "the relay ended the connection in the middle of a frame"
	case errors.As(err, &stranger):
		return "its certificate is signed by nobody whom this machine trusts: name one who did by --ca"
	case errors.As(err, &op):
		return op.Op + ": " + op.Err.Error()
	}
	return err.Error()
}
