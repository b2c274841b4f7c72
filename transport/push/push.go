// Package push wakes phones by Firebase Cloud Messaging (docs/protocol.md 3).
//
// A wake is a message without content, sent because a binary asked for it. Nobody waits for one: what there is no room for is
// dropped, and how each ended is counted. A phone's token is held until its message has been sent, and goes nowhere else.
package push

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/jellydator/ttlcache/v3"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/jwt"
	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"

	"github.com/pyrycode/pyrycode-relay/actors/tally"
)

const (
	platform   = "fcm"            // the only one
	burst      = 6                // wakes of a server-id at once
	interval   = 10 * time.Second // until one more
	inFlight   = 32               // wakes of all server-ids together
	patience   = 10 * time.Second // for a wake, and for an access token
	maxToken   = 4 << 10          // bytes: what FCM takes as a whole message
	maxAnswer  = 64 << 10         // bytes of an answer that are read, for the connection's sake
	remembered = 1 << 16          // server-ids; who is forgotten has a full bucket
)

// Config is what a Sender has to know.
type Config struct {
	Key      []byte // the JSON of a service account's key, which IsKey; empty: nothing is ever sent
	Endpoint string // where messages go; empty: to FCM
	Log      *slog.Logger
	Count    func(tally.PushOutcome) // called when a wake that was granted has ended; by any goroutine
}

// Sender sends wakes. Its methods may be called from any goroutine.
type Sender struct {
	log      *slog.Logger
	count    func(tally.PushOutcome)
	endpoint string
	account  *jwt.Config // nil: off
	client   *http.Client

	life     context.Context // a wake outlives the call that asked for it
	end      context.CancelFunc
	work     sync.WaitGroup // the wakes in flight
	places   chan struct{}
	buckets  *ttlcache.Cache[string, *rate.Limiter]
	fetching singleflight.Group // of access tokens: one at a time, and all that wait share how it ends

	mu     sync.Mutex // guards access
	access *oauth2.Token

	failures rate.Sometimes // for the log
	expiry   rate.Sometimes
}

// New returns a Sender, which is to be closed.
func New(cfg Config) *Sender {
	s := &Sender{
		log: cfg.Log, count: cfg.Count, endpoint: cfg.Endpoint, places: make(chan struct{}, inFlight), failures: rate.Sometimes{Interval: time.Second},
		expiry:  rate.Sometimes{Interval: time.Minute},
		buckets: ttlcache.New(ttlcache.WithCapacity[string, *rate.Limiter](remembered), ttlcache.WithTTL[string, *rate.Limiter](burst*interval)),
	}
	s.life, s.end = context.WithCancel(context.Background())
	k, ok := parseKey(cfg.Key)
	if !ok {
		return s
	}
	s.account = k.config()
	if s.endpoint == "" {
		s.endpoint = "https://fcm.googleapis.com/v1/projects/" + k.Project + "/messages:send"
	}
	connections := http.DefaultTransport.(*http.Transport).Clone()
	connections.MaxIdleConnsPerHost, connections.MaxConnsPerHost = inFlight, inFlight
	s.client = &http.Client{
		Transport: connections, Timeout: patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // tokens go nowhere else
	}
	return s
}

// Close gives up what is in flight. A fetch of an access token that is under way ends by itself, within its patience.
func (s *Sender) Close() {
	s.end()
	if s.account != nil {
		s.client.CloseIdleConnections()
	}
	s.work.Wait()
}

// Wake sends a wake to the phone behind token, for a binary of server, and waits for nothing. It reports false where it will not.
func (s *Sender) Wake(server, to, token string) bool {
	if !s.mayWake(server, to, token) {
		return false
	}
	s.work.Go(func() {
		defer func() { <-s.places }()
		outcome, status := s.send(token)
		s.count(outcome)
		if outcome != tally.PushSent && outcome != tally.PushUnregistered && s.life.Err() == nil {
			s.failures.Do(func() { s.log.Warn("push_wake_failed", "outcome", outcome.String(), "status", status) })
		}
	})
	return true
}

// mayWake takes a place in flight, which is to be given back, and one from the bucket of server.
func (s *Sender) mayWake(server, to, token string) bool {
	if s.account == nil || to != platform || token == "" || len(token) > maxToken || s.life.Err() != nil {
		return false
	}
	select {
	case s.places <- struct{}{}:
	default:
		return false
	}
	s.expiry.Do(s.buckets.DeleteExpired)
	bucket, _ := s.buckets.GetOrSetFunc(server, func() *rate.Limiter { return rate.NewLimiter(rate.Every(interval), burst) })
	if !bucket.Value().Allow() {
		<-s.places
		return false
	}
	return true
}

// message is one of FCM's HTTP v1 API.
type message struct {
	Message struct {
		Token   string `json:"token"`
		Android struct {
			Priority string `json:"priority"`
		} `json:"android"`
	} `json:"message"`
}

// send sends one wake. It says what the server answered, and nothing of what that held.
func (s *Sender) send(token string) (o tally.PushOutcome, status int) {
	ctx, cancel := context.WithTimeout(s.life, patience)
	defer cancel()
	access, status := s.token(ctx)
	if access == nil {
		return tally.PushTokenFetchFailed, status
	}
	var m message
	m.Message.Token, m.Message.Android.Priority = token, "high" // or a phone that sleeps hears of it when it wakes by itself
	body, err := json.Marshal(m)
	if err != nil {
		return tally.PushSendFailed, 0
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.endpoint, bytes.NewReader(body))
	if err != nil {
		return tally.PushSendFailed, 0
	}
	r.Header.Set("Content-Type", "application/json")
	access.SetAuthHeader(r)
	resp, err := s.client.Do(r)
	if err != nil {
		return tally.PushSendFailed, 0
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, maxAnswer)
	switch resp.StatusCode {
	case http.StatusOK:
		return tally.PushSent, resp.StatusCode
	case http.StatusNotFound:
		return tally.PushUnregistered, resp.StatusCode
	case http.StatusUnauthorized:
		s.forget(access) // revoked: the next wake fetches another
	}
	return tally.PushSendFailed, resp.StatusCode
}

// token gives an access token, or what the server answered instead; 0 where it did not.
func (s *Sender) token(ctx context.Context) (t *oauth2.Token, status int) {
	s.mu.Lock()
	t = s.access
	s.mu.Unlock()
	if t.Valid() {
		return t, 0
	}
	select {
	case <-ctx.Done():
		return nil, 0
	case fetched := <-s.fetching.DoChan("", s.fetch):
		if refused, ok := errors.AsType[*oauth2.RetrieveError](fetched.Err); ok {
			return nil, refused.Response.StatusCode
		}
		t, _ = fetched.Val.(*oauth2.Token)
		return t, 0
	}
}

func (s *Sender) fetch() (any, error) {
	t, err := s.account.TokenSource(context.WithValue(s.life, oauth2.HTTPClient, s.client)).Token()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.access = t
	s.mu.Unlock()
	return t, nil
}

func (s *Sender) forget(t *oauth2.Token) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.access == t {
		s.access = nil
	}
}
