package main

import "fmt"

type phone struct {
	byHand `embed:""`
	Device string   `default:"claimstorm" help:"What to send as the device's name (${default})."`
	Frames []string `arg:"" name:"frame" help:"What to send: each a JSON value."`
}

func (p *phone) run(e *environment) int {
	dialer, err := p.dialer()
	if err != nil {
		return e.usage(err)
	}
	conn, err := dialer.Phone(e.ctx, "claimstorm", p.Device)
	if err != nil {
		return p.explainNoUpgrade(e, err)
	}
	defer conn.CloseNow()
	for _, frame := range p.Frames {
		if conn.Send(e.ctx, []byte(frame)) != nil {
			break // the receiving below says why
		}
	}
	for range p.Frames {
		answer, err := conn.Receive(e.ctx)
		if err != nil {
			return explainEnd(e, err)
		}
		_, _ = fmt.Fprintf(e.stdout, "%s\n", answer)
	}
	_ = conn.Close(1000, "done")
	return 0
}
