// Package replay is what the registry handled, and decided, as lines of JSON: an incident that can be replayed.
//
//	{"record":1,"version":"v1.2.3","started":"...","slots":{"Grace":30000000000, ...}}     the head of each file
//	{"at":"...","message":"Claim","body":{"Server":"home", ...}}                           a message, and when it was handled
//	{"decided":{"seq":1, ...}}                                                             what was decided on it, as /claims shows it
//	{"dropped":12}                                                                         so many messages are missing here
//	{"continues":5000,"seq":1234}                                                          the head's second line, of a rotated file
//
// The machine of slots gives equal effects for equal messages at equal times, so a record that begins with its process holds
// everything: at the start no slot is held. A file that was rotated begins later, and its first line but one says so.
package replay

import (
	"encoding/json"
	"fmt"
	"reflect"
	"time"

	"github.com/pyrycode/pyrycode-relay/actors/slots"
	"github.com/pyrycode/pyrycode-relay/messages"
)

// Format is the number of this form of a record. Another one is not read.
const Format = 1

// Head is the first line of a file.
type Head struct {
	Record  int          `json:"record"`
	Version string       `json:"version"` // of the relay
	Started time.Time    `json:"started"` // when its machine of slots was made
	Slots   slots.Config `json:"slots"`
}

// line is any other line: one of its fields is there.
type line struct {
	At        *time.Time      `json:"at,omitempty"`
	Message   string          `json:"message,omitempty"`
	Body      json.RawMessage `json:"body,omitempty"`
	Decided   json.RawMessage `json:"decided,omitempty"`
	Dropped   int64           `json:"dropped,omitempty"`
	Continues int64           `json:"continues,omitempty"`
	Seq       int64           `json:"seq,omitempty"` // beside Continues
}

// kinds are the messages of the registry, by the names of their types.
var kinds = func() map[string]reflect.Type {
	all := map[string]reflect.Type{}
	known := [...]messages.ToRegistry{
		messages.Claim{},
		messages.Withdraw{},
		messages.Release{},
		messages.ProbeAnswered{},
		messages.ProbeExpired{},
		messages.ProbeDue{},
		messages.GraceExpired{},
		messages.ShutDown{},
		messages.OperatorRelease{},
		messages.Join{},
		messages.Leave{},
	}
	for _, m := range known {
		all[reflect.TypeOf(m).Name()] = reflect.TypeOf(m)
	}
	return all
}()

// Message is the line of a message that was handled at that time.
func Message(at time.Time, m messages.ToRegistry) ([]byte, error) {
	body, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("record %T: %w", m, err)
	}
	at = at.UTC()
	return json.Marshal(line{At: &at, Message: reflect.TypeOf(m).Name(), Body: body})
}

// Decision is the line of what was decided on the message above it.
func Decision(e *slots.Entry) ([]byte, error) {
	body, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("record number %d: %w", e.Seq, err)
	}
	return json.Marshal(line{Decided: body})
}

// Dropped is the line that says how many messages are missing.
func Dropped(n int64) ([]byte, error) { return json.Marshal(line{Dropped: n}) }

// Continues is the line that says how many lines there were in earlier files, and the last number among their decisions.
func Continues(n, seq int64) ([]byte, error) { return json.Marshal(line{Continues: n, Seq: seq}) }

// parse is the message of a line.
func (l *line) parse() (messages.ToRegistry, error) {
	kind := kinds[l.Message]
	if kind == nil || l.At == nil {
		return nil, fmt.Errorf("message %q: want one that the registry knows, and when it was handled", l.Message)
	}
	m := reflect.New(kind)
	if err := json.Unmarshal(l.Body, m.Interface()); err != nil {
		return nil, fmt.Errorf("message %s: %w", l.Message, err)
	}
	return m.Elem().Interface().(messages.ToRegistry), nil
}
