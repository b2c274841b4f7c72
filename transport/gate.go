package transport

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
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

// phoneGate checks the headers of a phone (docs/protocol.md 2). Of the token it looks at whether there is one, and lets go of it.
func phoneGate(h http.Header) (p actors.Phone, err error) {
	server, err1 := one(h, "X-Pyrycode-Server")
	_, err2 := one(h, "X-Pyrycode-Token")
	_, err3 := one(h, "User-Agent")
	device := h.Values("X-Pyrycode-Device-Name")
	var err4 error
	if len(device) > 1 || len(device) == 1 && len(device[0]) > maxDeviceName {
		err4 = fmt.Errorf("X-Pyrycode-Device-Name: want it at most once, and at most %d bytes", maxDeviceName)
	}
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return p, err
	}
	if len(device) == 1 {
		p.Device = strings.Clone(strings.ToValidUTF8(device[0], "\ufffd"))
	}
	p.Server, err = messages.ParseServerID(strings.Clone(server))
	return p, err
}

// maxDeviceName is in bytes (docs/protocol.md 2).
const maxDeviceName = 256

// one is the value of a header that must be there, once, and not empty.
func one(h http.Header, name string) (string, error) {
	v := h.Values(name)
	if len(v) != 1 || v[0] == "" {
		return "", errors.New(name + ": want it once, and not empty")
	}
	return v[0], nil
}

// newConnID makes the name of a binary's connection. It is for people, in logs and in the journal: it may repeat.
func newConnID(server messages.ServerID) messages.ConnID { return connID("server-", server, 4) }

// newPhoneID makes the name of a phone's connection, by which binaries know it: it does not repeat.
func newPhoneID(server messages.ServerID) messages.ConnID { return connID("client-", server, 8) }

func connID(prefix string, server messages.ServerID, bytes int) messages.ConnID {
	b := make([]byte, bytes)
	_, _ = rand.Read(b) // never fails
	return messages.ConnID(prefix + string(server) + "-" + hex.EncodeToString(b))
}
