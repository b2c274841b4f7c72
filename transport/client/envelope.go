package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"unicode/utf8"
)

// Envelope is what stands around a frame on a binary's connection (docs/protocol.md 3).
type Envelope struct {
	ConnID    string          // the phone: from whom, or to whom
	Frame     json.RawMessage // one JSON value, byte for byte; nil for none, which null means, too, where it is sent
	CloseCode int             // received: the phone is gone; sent: close it, behind the frame. 0 for none
	PushWake  *PushWake       // sent only, and without a ConnID
}

// PushWake asks for a push message, without content, to a phone that is not connected.
type PushWake struct {
	Platform string `json:"platform"`
	Token    string `json:"token"`
}

// Gone says that the envelope is a close notice: its phone is gone, and no frame of it will follow.
func (e Envelope) Gone() bool { return e.Frame == nil && e.CloseCode != 0 }

func parseEnvelope(b []byte) (Envelope, error) {
	var e struct {
		ConnID    string          `json:"conn_id"`
		Frame     json.RawMessage `json:"frame"`
		CloseCode int             `json:"close_code"`
	}
	if err := json.Unmarshal(b, &e); err != nil {
		return Envelope{}, fmt.Errorf("the relay sent what is no envelope, %.100q: %w", b, err)
	}
	if e.ConnID == "" || e.Frame == nil && e.CloseCode == 0 {
		return Envelope{}, fmt.Errorf("the relay sent an envelope that says nothing: %.100q", b)
	}
	return Envelope{ConnID: e.ConnID, Frame: e.Frame, CloseCode: e.CloseCode}, nil
}

// append appends the envelope to b. The frame is copied as it is; encoding/json would rewrite it.
func (e Envelope) append(b []byte) ([]byte, error) {
	if e.PushWake != nil {
		wake, err := json.Marshal(struct {
			PushWake *PushWake `json:"push_wake"`
		}{e.PushWake})
		return append(b, wake...), err
	}
	switch { // what follows would be dropped by the relay, and nobody would know
	case e.ConnID == "":
		return nil, errors.New("send: want the ConnID of a phone, or a PushWake")
	case e.Frame == nil && e.CloseCode == 0:
		return nil, fmt.Errorf("send to %s: want a Frame, a CloseCode or both", e.ConnID)
	case e.CloseCode < 0 || e.CloseCode > math.MaxUint16:
		return nil, fmt.Errorf("send to %s: a close code is 0 to 65535, not %d", e.ConnID, e.CloseCode)
	case e.Frame != nil && (!json.Valid(e.Frame) || !utf8.Valid(e.Frame)):
		return nil, fmt.Errorf("send to %s: a frame is one JSON value in UTF-8, not %.100q", e.ConnID, e.Frame)
	}
	id, err := json.Marshal(e.ConnID)
	if err != nil {
		return nil, fmt.Errorf("send to %q: %w", e.ConnID, err)
	}
	b = append(append(b, `{"conn_id":`...), id...)
	if e.Frame != nil {
		b = append(append(b, `,"frame":`...), e.Frame...)
	}
	if e.CloseCode != 0 {
		b = fmt.Appendf(b, `,"close_code":%d`, e.CloseCode)
	}
	return append(b, '}'), nil
}
