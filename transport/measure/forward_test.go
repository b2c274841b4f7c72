package measure

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

// serveForward is what the relay is compared with where frames cross: slots in a map under a mutex, a handler blocked in the
// library's Read, envelopes by encoding/json, the library's Write. It has no limits, no flow control but TCP's, and closes nobody.
func serveForward(listening func(l, admin net.Addr)) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	listening(l.Addr(), nil)
	var (
		mu       sync.Mutex // guards the two below
		binaries = map[string]*websocket.Conn{}
		phones   = map[string]*websocket.Conn{}
		last     atomic.Int64
	)
	find := func(of map[string]*websocket.Conn, id string) *websocket.Conn {
		mu.Lock()
		defer mu.Unlock()
		return of[id]
	}
	set := func(of map[string]*websocket.Conn, id string, c *websocket.Conn) {
		mu.Lock()
		defer mu.Unlock()
		of[id] = c
	}
	type envelope struct {
		Conn  string          `json:"conn_id"`
		Frame json.RawMessage `json:"frame"`
	}
	ctx := context.Background()
	return http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
		if err != nil {
			return
		}
		defer c.CloseNow()
		c.SetReadLimit(1 << 20)
		id := r.Header.Get("X-Pyrycode-Server")
		if r.URL.Path == "/v1/server" {
			set(binaries, id, c)
			for {
				_, b, err := c.Read(ctx)
				if err != nil {
					return
				}
				var e envelope
				if json.Unmarshal(b, &e) != nil {
					continue
				}
				if p := find(phones, e.Conn); p != nil {
					_ = p.Write(ctx, websocket.MessageText, e.Frame)
				}
			}
		}
		conn := fmt.Sprintf("client-%s-%016x", id, last.Add(1))
		set(phones, conn, c)
		for {
			_, b, err := c.Read(ctx)
			if err != nil {
				return
			}
			e, err := json.Marshal(envelope{conn, b})
			if err != nil {
				return
			}
			for find(binaries, id) == nil {
				time.Sleep(time.Millisecond) //nolint:forbidigo // plain, as it says
			}
			_ = find(binaries, id).Write(ctx, websocket.MessageText, e)
		}
	}))
}

// serveSplice is the least that anything between two connections can cost: the kernel moves the bytes over (splice), and neither
// copies nor looks at them.
func serveSplice(listening func(l, admin net.Addr)) error {
	return servePairs(listening, func(to, from net.Conn) { _, _ = io.Copy(to, from) })
}

// serveCopy is the least for whoever has to look at the bytes: a read and a write of up to 64 KiB.
func serveCopy(listening func(l, admin net.Addr)) error {
	return servePairs(listening, func(to, from net.Conn) {
		_, _ = io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, make([]byte, 64<<10))
	})
}

// servePairs has carry carry what comes from each connection of a pair to the other. A connection says in a line which pair it
// belongs to.
func servePairs(listening func(l, admin net.Addr), carry func(to, from net.Conn)) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	listening(l.Addr(), nil)
	var mu sync.Mutex // guards waiting
	waiting := map[string]net.Conn{}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			line, err := bufio.NewReaderSize(oneByte{c}, 16).ReadString('\n')
			if err != nil {
				return
			}
			mu.Lock()
			other := waiting[line]
			waiting[line] = c
			mu.Unlock()
			if other != nil {
				go carry(other, c)
				carry(c, other)
			}
		}()
	}
}

// oneByte keeps a buffered reader from taking what follows.
type oneByte struct{ net.Conn }

func (o oneByte) Read(p []byte) (int, error) { return o.Conn.Read(p[:1]) }
