package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// linkTo reads what a relay would have sent.
func linkTo(wire string) *link {
	return &link{br: bufio.NewReaderSize(strings.NewReader(wire), 16)}
}

func TestFaultsOfTheWireAreTold(t *testing.T) {
	for name, wire := range map[string]string{
		"a masked frame":                        "\x81\x81abcdx",
		"reserved bits":                         "\xc1\x01x",
		"an unknown opcode":                     "\x83\x00",
		"an unknown control frame":              "\x8b\x00",
		"a fragmented ping":                     "\x09\x00",
		"a long ping":                           "\x89\x7e\x00\x7e",
		"a continuation of nothing":             "\x80\x00",
		"a message within another":              "\x01\x00\x81\x00",
		"a message that is too big":             "\x81\x7f\x00\x00\x00\x00\x10\x00\x00\x00",
		"a message of a length beyond all sums": "\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff",
	} {
		_, _, err := linkTo(wire).next()
		if fault := wireFault(""); !errors.As(err, &fault) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, wire := range map[string]string{"a header": "\x81", "a length": "\x81\x7e\x00", "a payload": "\x81\x02x", "a message": "\x01\x01x", "a pong": "\x8a\x01"} {
		if _, _, err := linkTo(wire).next(); err != io.ErrUnexpectedEOF {
			t.Errorf("the end inside %s: %v", name, err)
		}
	}
	if _, _, err := linkTo("").next(); err != io.EOF {
		t.Errorf("the end between two messages: %v", err)
	}
}

func TestFragmentsMakeAMessageAroundControlFrames(t *testing.T) {
	l := linkTo("\x01\x02ab" + "\x89\x01!" + "\x00\x01c" + "\x80\x01d" + "\x88\x02\x03\xe8")
	for _, want := range []struct {
		op      byte
		payload string
	}{{opPing, "!"}, {opText, "abcd"}, {opClose, "\x03\xe8"}} {
		op, payload, err := l.next()
		if op != want.op || string(payload) != want.payload || err != nil {
			t.Errorf("%d %q %v, want %+v", op, payload, err, want)
		}
	}
}

func TestClosePayloadsAreJudged(t *testing.T) {
	for _, c := range []struct {
		payload string
		code    int
		reason  string
		wrong   bool
	}{
		{"", 1005, "", false},
		{"\x11\x39server-id already claimed", 4409, "server-id already claimed", false},
		{"\x11", 0, "", true},
		{"\x03\xe8\xff", 0, "", true},
	} {
		code, reason, err := closing([]byte(c.payload))
		if code != c.code || reason != c.reason || (err != nil) != c.wrong {
			t.Errorf("%q: %d %q %v", c.payload, code, reason, err)
		}
	}
}

func TestUpgradesAreJudged(t *testing.T) {
	const key, accept = "dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" // RFC 6455 1.3
	const good = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + accept + "\r\n"
	for answer, right := range map[string]bool{
		good + "\r\n": true,
		strings.Replace(good, accept, "AAAA", 1) + "\r\n":             false,
		strings.Replace(good, "Connection", "X", 1) + "\r\n":          false,
		good + "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n": false,
	} {
		l := linkTo(answer + "\x81\x01x")
		l.key = key
		err := l.upgraded()
		if fault := wireFault(""); right != (err == nil) || err != nil && !errors.As(err, &fault) {
			t.Errorf("%q: %v", answer, err)
		}
		if err != nil {
			continue
		}
		if _, payload, err := l.next(); string(payload) != "x" || err != nil { // it came with the answer
			t.Errorf("%q, %v", payload, err)
		}
	}
	l := linkTo("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\n\r\n")
	if answer := (*noUpgrade)(nil); !errors.As(l.upgraded(), &answer) || *answer != (noUpgrade{503, "5"}) {
		t.Errorf("%v", answer)
	}
}

// TestARequestIsHeldBackByItsLastByte: nothing is claimed before release.
func TestARequestIsHeldBackByItsLastByte(t *testing.T) {
	ours, relays := net.Pipe()
	defer relays.Close()
	got := make(chan string)
	go func() {
		for {
			b := make([]byte, 4096)
			n, err := relays.Read(b)
			if err != nil {
				close(got)
				return
			}
			got <- string(b[:n])
		}
	}()
	l, err := newLink(ours, "relay.example", "/v1/server", []string{"X-Pyrycode-Server: home"}, claimBuffer)
	if err != nil {
		t.Fatal(err)
	}
	if head := <-got; !strings.HasPrefix(head, "GET /v1/server HTTP/1.1\r\nHost: relay.example\r\n") || !strings.HasSuffix(head, "X-Pyrycode-Server: home\r\n\r") {
		t.Errorf("%q", head)
	}
	if err := l.release(); err != nil {
		t.Fatal(err)
	}
	if last := <-got; last != "\n" {
		t.Errorf("%q", last)
	}
	l.cut(false)
	<-got
}

// TestFramesAreReadAsTheyWereWritten, whatever their length: the masking is undone by the tests' fake relay.
func TestFramesAreReadAsTheyWereWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.OneOf(rapid.IntRange(0, 300), rapid.IntRange(65530, 65540)).Draw(t, "length")
		payload := bytes.Repeat([]byte("0123456789abcdef!"), n/17+1)[:n]
		c := &fakeConn{br: bufio.NewReader(bytes.NewReader(appendFrame(nil, opText, payload)))}
		if op, got, err := c.read(); op != opText || !bytes.Equal(got, payload) || err != nil {
			t.Fatalf("%d %q %v", op, got, err)
		}
	})
}
