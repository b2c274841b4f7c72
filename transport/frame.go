package transport

import (
	"encoding/binary"
	"unicode/utf8"

	"github.com/pyrycode/pyrycode-relay/messages"
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

const (
	maxHeader  = 14  // two bytes, eight of length, four of mask
	maxControl = 125 // RFC 6455 5.5: the payload of a control frame
)

// header is the beginning of a frame.
type header struct {
	fin     bool
	opcode  byte
	length  int64
	key     [4]byte
	size    int  // of the header itself, in bytes
	invalid bool // it breaks RFC 6455 in itself, whatever came before it
}

// parseHeader reads the header that b begins with. ok is false while bytes of it are missing.
func parseHeader(b []byte) (h header, ok bool) {
	if len(b) < 2 {
		return h, false
	}
	h.fin, h.opcode = b[0]&0x80 != 0, b[0]&0x0f
	short := b[1] & 0x7f
	control := h.opcode >= opClose
	switch {
	case b[0]&0x70 != 0, // reserved bits: no extension was agreed on (5.2)
		b[1]&0x80 == 0, // a client masks (5.1)
		h.opcode > opBinary && h.opcode < opClose, h.opcode > opPong,
		control && (!h.fin || short > maxControl):
		h.invalid = true
		return h, true
	}
	h.size = 2
	switch short {
	case 126:
		if len(b) < 4 {
			return h, false
		}
		h.length, h.size = int64(binary.BigEndian.Uint16(b[2:])), 4
		h.invalid = h.length < 126 // the minimal number of bytes MUST be used (5.2)
	case 127:
		if len(b) < 10 {
			return h, false
		}
		h.length, h.size = int64(binary.BigEndian.Uint64(b[2:])), 10
		h.invalid = h.length < 1<<16 // not minimal, or the top bit is set
	default:
		h.length = int64(short)
	}
	if h.invalid {
		return h, true
	}
	if len(b) < h.size+4 {
		return h, false
	}
	h.key = [4]byte(b[h.size:])
	h.size += 4
	return h, true
}

// unmask undoes the masking of b, whose first byte is byte number at of the payload (RFC 6455 5.3).
func unmask(b []byte, key [4]byte, at int64) {
	k := binary.LittleEndian.Uint32(key[:])
	k = k>>(8*(at&3)) | k<<(32-8*(at&3))
	kk := uint64(k)<<32 | uint64(k)
	for len(b) >= 32 {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^kk)
		binary.LittleEndian.PutUint64(b[8:], binary.LittleEndian.Uint64(b[8:])^kk)
		binary.LittleEndian.PutUint64(b[16:], binary.LittleEndian.Uint64(b[16:])^kk)
		binary.LittleEndian.PutUint64(b[24:], binary.LittleEndian.Uint64(b[24:])^kk)
		b = b[32:]
	}
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^kk)
		b = b[8:]
	}
	for i := range b {
		b[i] ^= byte(kk >> (8 * (i & 7)))
	}
}

// appendHeader appends the header of a frame of the relay's: whole, and not masked.
func appendHeader(b []byte, opcode byte, length int) []byte {
	b = append(b, 0x80|opcode)
	switch {
	case length < 126:
		return append(b, byte(length))
	case length < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, 126), uint16(length))
	}
	return binary.BigEndian.AppendUint64(append(b, 127), uint64(length))
}

// appendClose appends a close frame. A reason that does not fit is cut between two characters. CloseNoStatus is a close frame
// without a code.
func appendClose(b []byte, code messages.CloseCode, reason string) []byte {
	if code == messages.CloseNoStatus {
		return appendHeader(b, opClose, 0)
	}
	for len(reason) > maxControl-2 {
		_, n := utf8.DecodeLastRuneInString(reason)
		reason = reason[:len(reason)-n]
	}
	b = appendHeader(b, opClose, 2+len(reason))
	return append(binary.BigEndian.AppendUint16(b, uint16(code)), reason...)
}

// closeVerdict is what a peer's close frame is answered with: its own code, or none where it has none; 1002 where it is not as it
// has to be (RFC 6455 5.5.1, 7.4).
func closeVerdict(payload []byte) (code messages.CloseCode, ok bool) {
	if len(payload) == 0 {
		return messages.CloseNoStatus, true
	}
	if len(payload) == 1 || !utf8.Valid(payload[2:]) {
		return messages.CloseProtocolError, false
	}
	if code := messages.CloseCode(binary.BigEndian.Uint16(payload)); code.Sendable() {
		return code, true
	}
	return messages.CloseProtocolError, false
}
