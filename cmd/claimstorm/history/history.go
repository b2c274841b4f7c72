package history

import (
	"math"
	"sync"
	"time"
)

// History is the claims of a run, packed: a refused one takes 40 bytes, another one 72, a pong 16. Any goroutine may add to it.
// While it is checked or read, nobody may.
type History struct {
	mu      sync.Mutex // guards all of it while claims are added
	claims  column[packed]
	holds   column[hold]
	pongs   column[Pong]
	servers names
	reasons names
}

// packed is a claim without what only those have that are not refused.
type packed struct {
	asked, upgraded, ended time.Duration
	server                 uint32 // in History.servers
	client                 uint32
	hold                   uint32 // 1 + the place in History.holds; 0 for none
	code                   uint16
	reason                 uint8 // in History.reasons
	end                    End
}

// hold is the rest of a claim that heard or did more than to be refused.
type hold struct {
	held, silent, leaving time.Duration
	pong, pongs           uint32 // the first one in History.pongs, and how many
}

// Add adds a claim that has ended, or that the tool no longer looks at. c.Pongs stays the caller's. It panics beyond 2^32-1
// claims or pongs.
func (h *History) Add(c Claim) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := packed{
		asked: c.Asked, upgraded: c.Upgraded, ended: c.Ended, server: h.servers.number(c.Server, math.MaxUint32),
		client: uint32(c.Client), code: c.Code, reason: uint8(h.reasons.number(c.Reason, math.MaxUint8)), end: c.End,
	}
	if c.Held != 0 || c.Silent != 0 || c.Leaving != 0 || len(c.Pongs) > 0 {
		first := h.pongs.length
		for _, pong := range c.Pongs {
			h.pongs.add(pong)
		}
		h.holds.add(hold{held: c.Held, silent: c.Silent, leaving: c.Leaving, pong: first, pongs: uint32(len(c.Pongs))})
		p.hold = h.holds.length
	}
	h.claims.add(p)
}

// Len is the number of claims.
func (h *History) Len() int { return int(h.claims.length) }

// Servers are the server-ids, in the order in which they were first seen.
func (h *History) Servers() []string { return h.servers.all }

// Claim is the i-th claim that was added.
func (h *History) Claim(i int) Claim { return h.unpack(uint32(i)) }

func (h *History) unpack(i uint32) Claim {
	p := h.claims.at(i)
	c := Claim{
		Server: h.servers.all[p.server], Client: int(p.client), Asked: p.asked, Upgraded: p.upgraded, Ended: p.ended,
		End: p.end, Code: p.code, Reason: h.reasons.all[p.reason],
	}
	if p.hold != 0 {
		r := h.holds.at(p.hold - 1)
		c.Held, c.Silent, c.Leaving = r.held, r.silent, r.leaving
		c.Pongs = make([]Pong, r.pongs)
		for j := range c.Pongs {
			c.Pongs[j] = *h.pongs.at(r.pong + uint32(j))
		}
	}
	return c
}

// column is a slice that grows without being copied: there is no room for two of them.
type column[T any] struct {
	chunks [][]T
	length uint32
}

const chunk = 1 << 14

func (c *column[T]) add(v T) {
	if c.length == math.MaxUint32 {
		panic("history: more than 4,294,967,295 claims or pongs: check shorter runs")
	}
	if c.length%chunk == 0 {
		c.chunks = append(c.chunks, make([]T, 0, min(chunk, 64+c.length))) // most runs are short
	}
	last := &c.chunks[c.length/chunk]
	*last = append(*last, v)
	c.length++
}

func (c *column[T]) at(i uint32) *T { return &c.chunks[i/chunk][i%chunk] }

// names numbers strings that come again and again.
type names struct {
	all []string
	of  map[string]uint32
}

// number is s's number. Where more than most strings would have one, it is the last one's, whose string is then "(others)".
func (n *names) number(s string, most uint32) uint32 {
	if i, known := n.of[s]; known {
		return i
	}
	if n.of == nil {
		n.of = make(map[string]uint32)
	}
	i := uint32(len(n.all))
	if i == most {
		s = "(others)"
	}
	if i > most {
		return most
	}
	n.all = append(n.all, s)
	n.of[s] = i
	return i
}
