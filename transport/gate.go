package transport

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net"
	"net/http"
	"strings"

	"github.com/pyrycode/pyrycode-relay/actors"
	"github.com/pyrycode/pyrycode-relay/messages"
)

// gate checks the headers of a claim (docs/protocol.md 1). What it returns shares no memory with the request, whose headers
// lie in one buffer: an idle connection would hold all of it.
func gate(h http.Header) (b actors.Binary, err error) {
	server, err1 := one(h, "X-Pyrycode-Server")
	version, err2 := one(h, "X-Pyrycode-Version")
	_, err3 := one(h, "User-Agent")
	if err := errors.Join(err1, err2, err3); err != nil {
		return b, err
	}
	b.Server, err1 = messages.ParseServerID(strings.Clone(server))
	b.Version, err2 = messages.ParseVersion(strings.Clone(version))
	return b, errors.Join(err1, err2)
}

// one is the value of a header that must be there, once, and not empty.
func one(h http.Header, name string) (string, error) {
	v := h.Values(name)
	if len(v) != 1 || v[0] == "" {
		return "", errors.New(name + ": want it once, and not empty")
	}
	return v[0], nil
}

// newConnID is for people, in logs and in the journal: it may repeat.
func newConnID(server messages.ServerID) messages.ConnID {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return messages.ConnID("server-" + string(server) + "-" + hex.EncodeToString(b[:]))
}

// remote is the peer's address without the port.
func remote(addr string) string {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	return strings.Clone(host)
}
