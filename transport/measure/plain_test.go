package measure

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// servePlain is what most servers do, and what the relay is compared with: slots in a map under a mutex, a handler blocked in the
// library's Read, a goroutine that pings. It refuses at once, without asking the holder.
func servePlain(listening func(l, admin net.Addr)) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	return servePlainOn(l, listening)
}

func servePlainOn(l net.Listener, listening func(l, admin net.Addr)) error {
	listening(l.Addr(), nil)
	var mu sync.Mutex // guards held
	held := map[string]bool{}
	claim := func(id string) bool {
		mu.Lock()
		defer mu.Unlock()
		won := !held[id]
		held[id] = true
		return won
	}
	release := func(id string) {
		mu.Lock()
		defer mu.Unlock()
		delete(held, id)
	}
	return http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get("X-Pyrycode-Server")
		if id == "" || r.Header.Get("X-Pyrycode-Version") == "" || r.Header.Get("User-Agent") == "" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
		if err != nil {
			return
		}
		defer c.CloseNow()
		if !claim(id) {
			_ = c.Close(4409, "server-id already claimed")
			return
		}
		defer release(id)
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		go func() {
			tick := time.NewTicker(heartbeat)
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
					if c.Ping(ctx) != nil {
						cancel()
					}
				}
			}
		}()
		for {
			if _, _, err := c.Read(ctx); err != nil {
				return
			}
		}
	}))
}
