package slots

import (
	"encoding/json"
	"time"

	"github.com/pyrycode/pyrycode-relay/messages"
)

// MarshalJSON gives the entry as docs/protocol.md 5 shows it.
func (e Entry) MarshalJSON() ([]byte, error) {
	type proof struct {
		Probe    messages.ProbeNumber `json:"probe"`
		Sent     time.Time            `json:"sent"`
		Answered time.Time            `json:"answered"`
		Conn     messages.ConnID      `json:"conn_id"`
	}
	v := struct {
		Seq     int64             `json:"seq"`
		Time    time.Time         `json:"time"`
		Server  messages.ServerID `json:"server_id"`
		Conn    messages.ConnID   `json:"conn_id"`
		Asked   string            `json:"asked"`
		Decided string            `json:"decided"`
		Epoch   messages.Epoch    `json:"epoch"`
		Reason  string            `json:"reason"`
		Proof   *proof            `json:"proof,omitempty"`
	}{e.Seq, e.Time.UTC(), e.Server, e.Conn, e.Asked.String(), e.Decided.String(), e.Epoch, e.Reason(), nil}
	if e.Decided == Refused {
		v.Proof = &proof{e.Proof.Probe, e.Proof.Sent.UTC(), e.Proof.Answered.UTC(), e.Proof.Conn}
	}
	return json.Marshal(v)
}
