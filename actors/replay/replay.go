package replay

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/pyrycode/pyrycode-relay/actors/slots"
)

// maxLine is the longest line of a record, in bytes.
const maxLine = 64 << 10

// Result is a record that was handled again, by the rules of this program.
type Result struct {
	Head    Head
	Entries []slots.Entry // what these rules decide
	Gaps    []string      // what is missing of the record: where, and how much
	Differs []Difference  // where the record says something else
}

// Difference is a message on which something else is decided than was recorded.
type Difference struct {
	Line           int    // of the message in the record, from 1
	Message        string // as it stands there
	Recorded, Here string // the decisions, as /claims shows them, one a line
}

// Run handles a record. With until, it stops behind the message that made the entry of this number.
func Run(r io.Reader, until int64) (*Result, error) {
	in := bufio.NewReaderSize(r, maxLine)
	p := &player{result: &Result{}, until: until}
	for {
		p.line++
		b, err := in.ReadSlice('\n')
		if errors.Is(err, io.EOF) {
			return p.end(len(b) > 0)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			err = fmt.Errorf("no line of a record: it is longer than %d bytes", maxLine)
		}
		if err == nil {
			err = p.take(b)
		}
		if errors.Is(err, errEnough) {
			return p.result, nil
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", p.line, err)
		}
	}
}

// player is a machine of slots that goes through a record.
type player struct {
	result  *Result
	machine *slots.Machine
	until   int64
	line    int
	seq     int64

	message  string   // the last one, for which what was recorded is not read to its end
	at       int      // its line
	here     [][]byte // what is decided on it
	recorded [][]byte
}

// errEnough: what was asked for has been handled.
var errEnough = errors.New("enough")

func (p *player) take(b []byte) error {
	if p.machine == nil {
		return p.begin(b)
	}
	var l line
	if err := json.Unmarshal(b, &l); err != nil {
		return fmt.Errorf("no line of a record: %w", err)
	}
	switch {
	case l.Decided != nil:
		p.recorded = append(p.recorded, bytes.Clone(l.Decided))
		return nil
	case l.Dropped > 0:
		p.result.Gaps = append(p.result.Gaps, fmt.Sprintf("line %d: %d messages are missing; what follows may differ for want of them", p.line, l.Dropped))
		p.here, p.recorded = nil, nil // the last of what was decided may be missing too
		return nil
	case l.Continues > 0:
		p.result.Gaps = append(p.result.Gaps, fmt.Sprintf("line %d: %d lines went before, in files that are gone; who held a slot by then is not known here", p.line, l.Continues))
		p.seq = l.Seq
		return nil
	}
	if p.compare(); p.until > 0 && p.seq >= p.until {
		return errEnough
	}
	return p.step(b, &l)
}

// end is that of the file. Where the relay was killed, or its disk was full, that is in the middle of a line.
func (p *player) end(cut bool) (*Result, error) {
	switch {
	case p.machine == nil:
		return nil, errors.New("it is empty: want a record's head")
	case cut:
		p.result.Gaps = append(p.result.Gaps, fmt.Sprintf("line %d: the record breaks off here; what was decided on its last message is not compared", p.line))
	default:
		p.compare()
	}
	return p.result, nil
}

func (p *player) begin(b []byte) error {
	h := &p.result.Head
	if err := json.Unmarshal(b, h); err != nil || h.Record != Format {
		return fmt.Errorf(`not the head of a record: want {"record":%d, ...}`, Format)
	}
	p.machine = slots.New(h.Started, h.Slots)
	return nil
}

// step handles a message, as the registry does.
func (p *player) step(b []byte, l *line) (err error) {
	m, err := l.parse()
	if err != nil {
		return err
	}
	p.message, p.at, p.here, p.recorded = string(b), p.line, nil, nil
	add := func(e slots.Entry) error {
		p.seq++
		e.Seq = p.seq
		p.result.Entries = append(p.result.Entries, e)
		text, err := json.Marshal(e)
		p.here = append(p.here, text)
		return err
	}
	defer func() {
		if reason := recover(); reason != nil {
			err = add(slots.Failure(*l.At, m))
		}
	}()
	for _, effect := range p.machine.Step(*l.At, m) {
		if r, ok := effect.(slots.Record); ok {
			err = errors.Join(err, add(*r.Entry))
		}
	}
	return err
}

// compare holds what is decided here against what was recorded.
func (p *player) compare() {
	here, recorded := p.text(p.here), p.text(p.recorded)
	if here != recorded {
		p.result.Differs = append(p.result.Differs, Difference{p.at, p.message, recorded, here})
	}
	p.here, p.recorded = nil, nil
}

// text is entries one a line; their numbers left out, since after a first difference all of them would differ.
func (p *player) text(entries [][]byte) string {
	var text []byte
	for _, e := range entries {
		var fields map[string]any
		_ = json.Unmarshal(e, &fields) // what is none stays empty, and differs
		delete(fields, "seq")
		one, _ := json.Marshal(fields)
		text = append(append(text, one...), '\n')
	}
	return string(text)
}
