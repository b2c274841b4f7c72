package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/coder/websocket"
)

// The close codes of a relay (docs/protocol.md 6).
const (
	GoingAway     = 1001 // the relay ends
	ProtocolError = 1002 // this end broke RFC 6455
	BadFrame      = 1007 // a phone's frame was not JSON
	TooSlow       = 1008 // a message was begun and not completed in time
	TooBig        = 1009 // a message was over the relay's limit
	InternalError = 1011 // "heartbeat timeout", "phone backlog full" or "internal error"
	NoServer      = 4404 // nobody holds the server-id
	Claimed       = 4409 // another binary, proven alive, holds the server-id
	TooManyPhones = 4429 // the server-id has as many phones as it may have
)

// Advice is what to do about an error.
type Advice int

// What to do.
const (
	Retry  Advice = iota // dial again, with back-off
	Stop                 // it will not get better by itself: tell the user
	Agreed               // the relay's page does not know this code: it means what the binary and the phone have agreed
)

func (a Advice) String() string { return [...]string{"retry", "stop", "as agreed"}[a] }

// Advise says what to do about an error of this package: an HTTPError and a CloseError know, a context that was cancelled is a
// reason to stop, and anything else (no route, a reset, a silence, a deadline) is one to try again.
func Advise(err error) Advice {
	var advisor interface{ Advice() Advice }
	switch {
	case errors.As(err, &advisor):
		return advisor.Advice()
	case errors.Is(err, context.Canceled):
		return Stop
	}
	return Retry
}

// HTTPError is an answer that was no upgrade.
type HTTPError struct {
	Status     int
	RetryAfter time.Duration // as the relay asks; 0 where it does not
}

func (e *HTTPError) Error() string {
	return fmt.Sprintf("not let in: %d %s: %s", e.Status, http.StatusText(e.Status), e.Advice())
}

// Advice is to stop where the request was wrong, and to try again where there was no room or time for it.
func (e *HTTPError) Advice() Advice {
	if e.Status >= 500 || e.Status == http.StatusTooManyRequests {
		return Retry
	}
	return Stop
}

// CloseError is a close frame of the relay.
type CloseError struct {
	Code   int // 1005 where the frame had none
	Reason string
}

func (e *CloseError) Error() string {
	return fmt.Sprintf("closed with %d %q: %s", e.Code, e.Reason, e.Advice())
}

// Advice is the last column of docs/protocol.md 6.
func (e *CloseError) Advice() Advice {
	switch {
	case e.Code == ProtocolError, e.Code == Claimed, e.Code == TooManyPhones:
		return Stop
	case e.Code >= 3000 && e.Code != NoServer:
		return Agreed
	}
	return Retry
}

// ended makes a CloseError of the library's.
func ended(err error) error {
	if ce, ok := errors.AsType[websocket.CloseError](err); ok {
		return &CloseError{Code: int(ce.Code), Reason: ce.Reason}
	}
	return fmt.Errorf("the connection is gone, without a close frame: %w", err)
}
