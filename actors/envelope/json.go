package envelope

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// scanner walks over text by the grammar of RFC 8259. Its methods get the index to begin at, and give the index behind what they
// were asked for, or -1 where that does not stand there.
type scanner struct {
	text []byte
	high uint64 // its top bits: whether a string had a byte outside ASCII
}

// utf8 is whether the text, whose grammar has been found valid, is valid UTF-8 as well. Only strings can hold what is not.
func (s *scanner) utf8() bool { return s.high&tops == 0 || utf8.Valid(s.text) }

// space skips white space, of which there may be none.
func space(b []byte, i int) int {
	for i < len(b) && b[i] <= ' ' && (b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r') {
		i++
	}
	return i
}

// value skips one value.
func (s *scanner) value(i int) int {
	b := s.text
	var open nesting
	for {
		if i < 0 || i >= len(b) {
			return -1
		}
		switch c := b[i]; c {
		case '"':
			i = s.str(i)
		case '{', '[':
			i = space(b, i+1)
			if i < len(b) && b[i] == c+2 { // } and ] are two behind { and [
				i++
				break
			}
			if !open.push(c == '{', len(b)-i) {
				return -1
			}
			if c == '{' {
				i = s.name(i)
			}
			continue
		case 't':
			i = literal(b, i, "true")
		case 'f':
			i = literal(b, i, "false")
		case 'n':
			i = literal(b, i, "null")
		default:
			i = number(b, i)
		}
		// A value has ended: what follows it ends what it stands in, or leads to the next.
		for {
			if i < 0 || open.depth == 0 {
				return i
			}
			if i = space(b, i); i == len(b) {
				return -1
			}
			object := open.object()
			if b[i] == ',' {
				if i = space(b, i+1); object {
					i = s.name(i)
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
func (s *scanner) name(i int) int {
	if i = s.str(i); i < 0 {
		return -1
	}
	if i = space(s.text, i); i == len(s.text) || s.text[i] != ':' {
		return -1
	}
	return space(s.text, i+1)
}

func literal(b []byte, i int, word string) int {
	if len(b)-i < len(word) || string(b[i:i+len(word)]) != word {
		return -1
	}
	return i + len(word)
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
	if i < len(b) && b[i]|0x20 == 'e' {
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
	for i < len(b) && b[i]-'0' <= 9 {
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

// ends has the top bit of each byte of x that a run of plain characters ends at: a quote, a backslash, a control character. It
// has that of bytes outside ASCII as well. Only the lowest is sure: its borrow may show in the byte above.
func ends(x uint64) uint64 {
	// Under ^2 a quote is 0x20, and what was below a space still is.
	return ((x ^ ones*2) - ones*0x21) | ((x ^ ones*'\\') - ones)
}

// plain is how many bytes b begins with that are ASCII and end no run, in strides of 32. Most of what crosses the relay is one
// long string of base64, and spends its time here: it stands by itself so that all it needs stays in registers.
func plain(b []byte) (n int) {
	n = len(b)
	for len(b) > 32 { // not >=: what is left is never empty, and the compiler need not keep its pointer in bounds
		x0, x1 := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])
		x2, x3 := binary.LittleEndian.Uint64(b[16:]), binary.LittleEndian.Uint64(b[24:])
		if (ends(x0)|ends(x1)|ends(x2)|ends(x3))&tops != 0 {
			break
		}
		b = b[32:]
	}
	return n - len(b)
}

// str skips a string.
func (s *scanner) str(i int) int {
	b := s.text
	if i >= len(b) || b[i] != '"' {
		return -1
	}
	i++
	high := s.high
	for {
		for len(b)-i >= 8 {
			x := binary.LittleEndian.Uint64(b[i:])
			high |= x
			if e := ends(x) &^ x & tops; e != 0 {
				i += bits.TrailingZeros64(e) / 8
				break
			}
			i += 8
			if x&tops != 0 {
				continue // not ASCII: the next stride would be in vain
			}
			i += plain(b[i:])
		}
		if i == len(b) {
			return -1
		}
		c := b[i]
		high |= uint64(c)
		switch {
		case c == '"':
			s.high = high
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

// escape skips what follows a backslash.
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
			if c-'0' > 9 && c|0x20-'a' > 5 {
				return -1
			}
		}
		return i + 5
	}
	return -1
}

// appendText appends what stands between the quotes of a valid string, its escapes decoded. A surrogate without its other half
// becomes U+FFFD.
func appendText(to, quoted []byte) []byte {
	b := quoted[1 : len(quoted)-1]
	for i := 0; i < len(b); {
		if b[i] != '\\' {
			to = append(to, b[i])
			i++
			continue
		}
		c := b[i+1]
		i += 2
		switch c {
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'u':
			r := hex(b[i:])
			i += 4
			if utf16.IsSurrogate(r) {
				var other rune
				if len(b)-i >= 6 && b[i] == '\\' && b[i+1] == 'u' {
					other = hex(b[i+2:])
				}
				if r = utf16.DecodeRune(r, other); r != utf8.RuneError {
					i += 6
				}
			}
			to = utf8.AppendRune(to, r)
			continue
		}
		to = append(to, c)
	}
	return to
}

// hex reads the four digits that b begins with.
func hex(b []byte) (r rune) {
	for _, c := range b[:4] {
		if c > '9' {
			c = c | 0x20 - 'a' + 10 + '0'
		}
		r = r<<4 | rune(c-'0')
	}
	return r
}

// nesting is what is open: a bit a level, set for an object. The first 64 levels cost no memory of their own.
type nesting struct {
	depth int
	bits  uint64 // of the innermost levels
	outer []uint64
}

// push is told how much text is left, and is false where that cannot close what is open.
func (n *nesting) push(object bool, left int) bool {
	if n.depth%64 == 0 && n.depth > 0 {
		if n.depth > left {
			return false
		}
		n.outer = append(n.outer, n.bits)
	}
	n.depth++
	n.bits <<= 1
	if object {
		n.bits |= 1
	}
	return true
}

func (n *nesting) pop() {
	n.depth--
	n.bits >>= 1
	if n.depth%64 == 0 && n.depth > 0 {
		n.bits = n.outer[len(n.outer)-1]
		n.outer = n.outer[:len(n.outer)-1]
	}
}

func (n *nesting) object() bool { return n.bits&1 != 0 }
