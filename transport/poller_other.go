//go:build !linux

package transport

import "errors"

// poller does not exist here: each connection keeps a goroutine in its read.
type poller struct{}

func newPoller(*sockets) (*poller, error) { return nil, errors.ErrUnsupported }

func (*poller) arm(*socket)    {}
func (*poller) remove(*socket) {}
func (*poller) stop()          {}
