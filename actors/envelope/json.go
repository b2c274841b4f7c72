package envelope

import (
	"encoding/binary"
	"math/bits"
)

// The functions here walk over JSON by the grammar of RFC 8259, and build nothing. Each gets the text and where to begin, and gives
// the index behind what it was asked for, or -1 where that is not there. UTF-8 is judged elsewhere.

// space skips white space, of which there may be none.
func space(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r') {
		i++
	}
	return i
}

// value skips one value. It does not recurse: a frame may be nested as deep as it is long.
func value(b []byte, i int) int {
	var open nesting
	for {
		if i < 0 || i >= len(b) {
			return -1
		}
		switch c := b[i]; c {
		case '{', '[':
			i = space(b, i+1)
			switch {
			case i < len(b) && b[i] == c+2: // } and ] are two behind their openers
				i++
			case c == '{':
				open.push(true)
				i = name(b, i)
				continue
			default:
				open.push(false)
				continue
			}
		case '"':
			i = text(b, i)
		case 't':
			i = word(b, i, "true")
		case 'f':
			i = word(b, i, "false")
		case 'n':
			i = word(b, i, "null")
		default:
			i = number(b, i)
		}
		// A value has ended: what follows ends what it stands in, or is the next one.
		for {
			if i < 0 || open.depth == 0 {
				return i
			}
			if i = space(b, i); i == len(b) {
				return -1
			}
			object := open.top()
			if b[i] == ',' {
				if i = space(b, i+1); object {
					i = name(b, i)
				}
				break
			}
			if object != (b[i] == '}') || !object && b[i] != ']' {
				return -1
			}
			open.pop()
			i++
		}
	}
}

// name skips a name, its colon, and the white space about that.
func name(b []byte, i int) int {
	if i = text(b, i); i < 0 {
		return -1
	}
	if i = space(b, i); i == len(b) || b[i] != ':' {
		return -1
	}
	return space(b, i+1)
}

func word(b []byte, i int, w string) int {
	if len(b)-i < len(w) || string(b[i:i+len(w)]) != w {
		return -1
	}
	return i + len(w)
}

func number(b []byte, i int) int {
	if i < len(b) && b[i] == '-' {
		i++
	}
	if i < len(b) && b[i] == '0' {
		i++
	} else if i = digits(b, i); i < 0 {
		return -1
	}
	if i < len(b) && b[i] == '.' {
		if i = digits(b, i+1); i < 0 {
			return -1
		}
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		if i++; i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		return digits(b, i)
	}
	return i
}

// digits skips one or more.
func digits(b []byte, i int) int {
	from := i
	for i < len(b) && b[i] >= '0' && b[i] <= '9' {
		i++
	}
	if i == from {
		return -1
	}
	return i
}

const (
	ones = 0x0101010101010101
	tops = 0x8080808080808080
)

// text skips a string. Frames are mostly one long one of base64, so it looks at eight bytes at a time.
func text(b []byte, i int) int {
	if i >= len(b) || b[i] != '"' {
		return -1
	}
	i++
	for {
		for len(b)-i >= 8 {
			x := binary.LittleEndian.Uint64(b[i:])
			// The top bit of each byte that is a quote, a backslash or below a space. A borrow makes a byte above such a one look
			// like another; the lowest is always true.
			ends := ((x - ones*' ') | ((x ^ ones*'"') - ones) | ((x ^ ones*'\\') - ones)) &^ x & tops
			if ends != 0 {
				i += bits.TrailingZeros64(ends) / 8
				break
			}
			i += 8
		}
		if i == len(b) {
			return -1
		}
		switch c := b[i]; {
		case c == '"':
			return i + 1
		case c == '\\':
			if i = escape(b, i+1); i < 0 {
				return -1
			}
		case c < ' ':
			return -1
		default:
			i++
		}
	}
}

// escape skips what follows a backslash. A surrogate without its other half is as good as any (RFC 8259 8.2).
func escape(b []byte, i int) int {
	if i == len(b) {
		return -1
	}
	switch b[i] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 1
	case 'u':
		if len(b)-i < 5 {
			return -1
		}
		for _, c := range b[i+1 : i+5] {
			if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'f') {
				return -1
			}
		}
		return i + 5
	}
	return -1
}

// nesting is what is open, a bit a level: an object or an array. The first 64 levels cost no memory of their own.
type nesting struct {
	depth int
	bits  uint64 // of the innermost levels
	outer []uint64
}

func (n *nesting) push(object bool) {
	if n.depth > 0 && n.depth%64 == 0 {
		n.outer = append(n.outer, n.bits)
	}
	n.depth++
	n.bits <<= 1
	if object {
		n.bits |= 1
	}
}

func (n *nesting) pop() {
	n.depth--
	n.bits >>= 1
	if n.depth > 0 && n.depth%64 == 0 {
		n.bits = n.outer[len(n.outer)-1]
		n.outer = n.outer[:len(n.outer)-1]
	}
}

func (n *nesting) top() (object bool) { return n.bits&1 != 0 }
