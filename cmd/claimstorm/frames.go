package main

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"strconv"
	"time"
)

// A frame of ours is valid JSON of a fixed layout: who sent it, its number, when it was sent, a checksum over all of it (its own place
// filled with zeros), and what makes up the size. Whatever happens to a byte of it, the sum tells.
const (
	framePrefix = `{"from":"`
	frameLayout = framePrefix + `%s","seq":"%012d","sent":"%016d","sum":"00000000","pad":"`
	frameEnd    = `"}`

	nameSize = 8 // a stream's name
	seqAt    = len(framePrefix) + nameSize + len(`","seq":"`)
	sentAt   = seqAt + 12 + len(`","sent":"`)
	sumAt    = sentAt + 16 + len(`","sum":"`)
	padAt    = sumAt + 8 + len(`","pad":"`)

	minFrame = padAt + len(frameEnd)
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	noSum      = []byte("00000000")
)

// appendOurs appends a frame of size bytes.
func appendOurs(b []byte, stream string, seq int64, sent time.Duration, size int) []byte {
	at := len(b)
	b = fmt.Appendf(b, frameLayout, stream, seq, sent)
	for i := range size - minFrame {
		b = append(b, 'a'+byte((int(seq)+i)%26))
	}
	b = append(b, frameEnd...)
	frame := b[at:]
	appendSum(frame[:sumAt], crc32.Checksum(frame, castagnoli))
	return b
}

func appendSum(b []byte, sum uint32) []byte {
	var raw [4]byte
	binary.BigEndian.PutUint32(raw[:], sum)
	return hex.AppendEncode(b, raw[:])
}

// ours is what a frame says. It is an error where the frame is not as it was sent.
func ours(frame []byte) (stream string, seq int64, sent time.Duration, err error) {
	if len(frame) < minFrame {
		return "", 0, 0, fmt.Errorf("a frame of %d bytes, and none is smaller than %d", len(frame), minFrame)
	}
	sum := crc32.Checksum(frame[:sumAt], castagnoli)
	sum = crc32.Update(sum, castagnoli, noSum)
	sum = crc32.Update(sum, castagnoli, frame[sumAt+8:])
	if told := frame[sumAt : sumAt+8]; !bytes.Equal(told, appendSum(nil, sum)) { // as text: 00aB is no 00ab
		return "", 0, 0, fmt.Errorf("the sum of its bytes is %08x, and it says %q", sum, told)
	}
	seq, err1 := strconv.ParseInt(string(frame[seqAt:seqAt+12]), 10, 64)
	ns, err2 := strconv.ParseInt(string(frame[sentAt:sentAt+16]), 10, 64)
	if err1 != nil || err2 != nil {
		return "", 0, 0, fmt.Errorf("it is none of ours: %.100q", frame)
	}
	return string(frame[len(framePrefix) : len(framePrefix)+nameSize]), seq, time.Duration(ns), nil
}

var (
	envelopeStart = []byte(`{"conn_id":"`)
	envelopeFrame = []byte(`","frame":`)
	envelopeEnd   = []byte(frameEnd + `}`)
)

// opened is what an envelope holds; the frame is nil in a close notice.
func opened(b []byte) (conn string, frame []byte, code int, err error) {
	if rest, ok := bytes.CutPrefix(b, envelopeStart); ok && bytes.HasSuffix(rest, envelopeEnd) { // as the protocol writes it, around a frame of ours
		if id, rest, ok := bytes.Cut(rest, envelopeFrame); ok && bytes.IndexByte(id, '\\') < 0 {
			return string(id), rest[:len(rest)-1], 0, nil
		}
	}
	var e struct {
		Conn  string          `json:"conn_id"`
		Frame json.RawMessage `json:"frame"`
		Code  int             `json:"close_code"`
	}
	if err := json.Unmarshal(b, &e); err != nil {
		return "", nil, 0, faultf("what is no envelope: %.100q", b)
	}
	return e.Conn, e.Frame, e.Code, nil
}

func appendEnvelope(b []byte, conn string, frame []byte) []byte {
	b = append(append(append(b, envelopeStart...), conn...), envelopeFrame...)
	return append(append(b, frame...), '}')
}
