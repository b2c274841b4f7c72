package admin

import (
	"context"

	"github.com/pyrycode/pyrycode-relay/actors"
	machine "github.com/pyrycode/pyrycode-relay/actors/slots"
	"github.com/pyrycode/pyrycode-relay/messages"
	"github.com/pyrycode/pyrycode-relay/transport/viewer"
)

// source shows the status page what it is about: the same as GET /slots and GET /claims.
type source struct{ pages *Pages }

func (s source) Slots(ctx context.Context, server messages.ServerID) ([]viewer.Slot, error) {
	ctx, cancel := context.WithTimeout(ctx, registryTimeout)
	defer cancel()
	census, err := s.pages.cfg.Relay.Census(ctx)
	if err != nil {
		return nil, err
	}
	connections := s.pages.cfg.Connections()
	all := make([]viewer.Slot, 0, len(census.Slots))
	for i := range census.Slots {
		c := &census.Slots[i]
		if c.State() == "" || server != "" && server != c.Server() {
			continue
		}
		d := describe(c, connections)
		v := viewer.Slot{
			Server: d.Server, State: d.State, Since: d.Since, Holder: d.Conn, Epoch: d.Epoch, Waiting: d.Waiting, Phones: len(d.Phones), Queued: d.Queued,
		}
		if d.Heard != nil {
			v.Heard = *d.Heard
		}
		all = append(all, v)
	}
	return all, nil
}

func (s source) Entries(server messages.ServerID) []machine.Entry {
	return s.pages.cfg.Relay.Journal().Select(actors.Query{Server: server, Limit: s.pages.cfg.Journal, Newest: true})
}
