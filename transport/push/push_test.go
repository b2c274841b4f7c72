package push

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pyrycode/pyrycode-relay/actors/tally"
	"github.com/pyrycode/pyrycode-relay/transport/measure/leak"
)

func TestMain(m *testing.M) { os.Exit(leak.Main(m)) }

const (
	phone  = "the-token-of-a-phone"
	access = "the-access-token"
)

// google is both ends that a wake speaks to.
type google struct {
	*httptest.Server
	key     []byte
	log     bytes.Buffer
	logMu   sync.Mutex
	fetches atomic.Int64
	got     chan string // the bodies of messages

	counts tally.Counts

	grants, sends func(w http.ResponseWriter, r *http.Request) // nil: as they should
}

var private = sync.OnceValue(func() string {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
})

func account(tokens string) map[string]string {
	return map[string]string{
		"type": "service_account", "project_id": "a-project", "private_key_id": "1", "private_key": private(),
		"client_email": "relay@a-project.iam.gserviceaccount.com", "token_uri": tokens,
	}
}

func (g *google) Write(p []byte) (int, error) {
	g.logMu.Lock()
	defer g.logMu.Unlock()
	return g.log.Write(p)
}

func (g *google) logged() string {
	g.logMu.Lock()
	defer g.logMu.Unlock()
	return g.log.String()
}

// sender is a Sender, and what it is up against.
type sender struct {
	*Sender
	counts *tally.Counts
}

func start(t *testing.T, g *google) sender {
	t.Helper()
	g.got = make(chan string, 100)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		g.fetches.Add(1)
		if g.grants != nil {
			g.grants(w, r)
			return
		}
		if r.FormValue("assertion") == "" || r.FormValue("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"access_token":%q,"token_type":"Bearer","expires_in":3600}`, access)
	})
	mux.HandleFunc("POST /send", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		g.got <- string(body)
		switch {
		case g.sends != nil:
			g.sends(w, r)
		case r.Header.Get("Authorization") != "Bearer "+access:
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
	g.Server = httptest.NewServer(mux)
	t.Cleanup(g.Close)
	var err error
	if g.key, err = json.Marshal(account(g.URL + "/token")); err != nil {
		t.Fatal(err)
	}
	s := New(Config{Key: g.key, Endpoint: g.URL + "/send", Log: slog.New(slog.NewTextHandler(g, nil)), Count: func(o tally.PushOutcome) { g.counts.Pushes[o].Add(1) }})
	t.Cleanup(func() {
		s.Close()
		for _, secret := range []string{phone, access, "PRIVATE"} {
			if strings.Contains(g.logged(), secret) {
				t.Errorf("the log holds %s", secret)
			}
		}
	})
	return sender{s, &g.counts}
}

// ends waits until so many wakes have ended so.
func (s sender) ends(t *testing.T, o tally.PushOutcome, n int64) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		if got := s.counts.Pushes[o].Load(); got == n {
			return
		} else if got > n {
			t.Fatalf("%d are %s, want %d", got, o, n)
		}
	}
}

func TestWakeIsAMessageWithoutContent(t *testing.T) {
	g := &google{}
	s := start(t, g)
	for n := range int64(3) {
		if !s.Wake("home", "fcm", phone) {
			t.Fatal("dropped")
		}
		if got, want := <-g.got, `{"message":{"token":"`+phone+`","android":{"priority":"high"}}}`; got != want {
			t.Errorf("sent %s, want %s", got, want)
		}
		s.ends(t, tally.PushSent, n+1)
	}
	if n := g.fetches.Load(); n != 1 {
		t.Errorf("%d access tokens were fetched for three wakes", n)
	}
	if l := g.logged(); l != "" {
		t.Errorf("logged: %s", l)
	}
}

// TestBucketOfAServer: six at once, and the others are not touched by it.
func TestBucketOfAServer(t *testing.T) {
	s := start(t, &google{})
	began, woken := time.Now(), 0
	for range 20 {
		if s.Wake("home", "fcm", phone) {
			woken++
		}
	}
	if refilled := int(time.Since(began) / interval); woken < burst || woken > burst+refilled { // where the machine stalled
		t.Errorf("%d of 20 wakes at once, want %d", woken, burst)
	}
	if !s.Wake("another", "fcm", phone) {
		t.Error("another server's is dropped")
	}
	s.ends(t, tally.PushSent, int64(woken)+1)
}

// TestOnlySoManyInFlight, however slow the other end is; and the end does not wait for them.
func TestOnlySoManyInFlight(t *testing.T) {
	slow, arrived := make(chan struct{}), make(chan struct{}, 2*inFlight)
	g := &google{sends: func(http.ResponseWriter, *http.Request) { arrived <- struct{}{}; <-slow }}
	s := start(t, g)
	for n := range 2 * inFlight {
		if got := s.Wake(fmt.Sprint("home-", n), "fcm", phone); got != (n < inFlight) {
			t.Errorf("number %d: %t", n, got)
		}
	}
	for range inFlight {
		<-arrived
	}
	s.Close()
	close(slow)
	if s.Wake("late", "fcm", phone) {
		t.Error("woken after the end")
	}
}

func TestWhatIsNotSent(t *testing.T) {
	off := New(Config{Log: slog.New(slog.DiscardHandler)})
	defer off.Close()
	if off.Wake("home", "fcm", phone) {
		t.Error("sent without a key")
	}
	g := &google{}
	s := start(t, g)
	for _, c := range [][2]string{{"apns", phone}, {"", phone}, {"FCM", phone}, {"fcm", ""}, {"fcm", strings.Repeat("x", maxToken+1)}} {
		if s.Wake("home", c[0], c[1]) {
			t.Errorf("%.20q: sent", c)
		}
	}
}

// TestHowWakesFail: each failure has its count, and a line at most once a second that says no secret, whatever the other end says.
func TestHowWakesFail(t *testing.T) {
	says := func(status int) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"error":{"message":"no %s with %s"}}`, phone, access)
		}
	}
	cuts := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	for what, c := range map[string]struct {
		g    *google
		want tally.PushOutcome
		line string
	}{
		"unregistered":  {&google{sends: says(404)}, tally.PushUnregistered, ""},
		"refused":       {&google{sends: says(400)}, tally.PushSendFailed, "status=400"},
		"overloaded":    {&google{sends: says(503)}, tally.PushSendFailed, "status=503"},
		"sent on":       {&google{sends: says(307)}, tally.PushSendFailed, "status=307"},
		"cut":           {&google{sends: cuts}, tally.PushSendFailed, "status=0"},
		"key revoked":   {&google{grants: says(400)}, tally.PushTokenFetchFailed, "status=400"},
		"token end cut": {&google{grants: cuts}, tally.PushTokenFetchFailed, "status=0"},
		"no token": {&google{grants: func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, phone)
		}}, tally.PushTokenFetchFailed, "status=0"},
	} {
		t.Run(what, func(t *testing.T) {
			s := start(t, c.g)
			for n := range int64(3) {
				s.Wake("home", "fcm", phone)
				s.ends(t, c.want, n+1)
			}
			if l := c.g.logged(); c.line == "" && l != "" || c.line != "" && !strings.Contains(l, "msg=push_wake_failed outcome="+c.want.String()+" "+c.line) {
				t.Errorf("logged %q, want %s", l, c.line)
			}
		})
	}
}

// TestRevokedAccessTokenIsFetchedAgain: the wake that finds out fails, the next one does not.
func TestRevokedAccessTokenIsFetchedAgain(t *testing.T) {
	var revoked atomic.Bool
	g := &google{}
	g.sends = func(w http.ResponseWriter, _ *http.Request) {
		if revoked.Swap(false) {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}
	s := start(t, g)
	s.Wake("home", "fcm", phone)
	s.ends(t, tally.PushSent, 1)
	revoked.Store(true)
	s.Wake("home", "fcm", phone)
	s.ends(t, tally.PushSendFailed, 1)
	s.Wake("home", "fcm", phone)
	s.ends(t, tally.PushSent, 2)
	if n := g.fetches.Load(); n != 2 {
		t.Errorf("%d access tokens were fetched", n)
	}
}

// TestOneFetchAtATime: those that wait for an access token share how its fetch ends.
func TestOneFetchAtATime(t *testing.T) {
	var fetching atomic.Int64
	s := start(t, &google{grants: func(w http.ResponseWriter, _ *http.Request) {
		if fetching.Add(1) > 1 {
			t.Error("two fetches at a time")
		}
		runtime.Gosched()
		fetching.Add(-1)
		w.WriteHeader(http.StatusInternalServerError)
	}})
	for n := range inFlight {
		s.Wake(fmt.Sprint("home-", n), "fcm", phone)
	}
	s.ends(t, tally.PushTokenFetchFailed, inFlight)
}

func TestKeys(t *testing.T) {
	good := account("https://oauth2.googleapis.com/token")
	changed := func(name, value string) []byte {
		m := maps.Clone(good)
		m[name] = value
		b, _ := json.Marshal(m)
		return b
	}
	if !IsKey(changed("type", "service_account")) {
		t.Error("a good key is none")
	}
	for what, b := range map[string][]byte{
		"nothing": nil, "a file's name": []byte("/etc/key.json"), "a list": []byte("[]"), "a user's": changed("type", "authorized_user"),
		"no project": changed("project_id", ""), "a project with a slash": changed("project_id", "a/b"), "no account": changed("client_email", ""),
		"no key": changed("private_key", "secret"), "a key that is none": changed("private_key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
		"no token endpoint": changed("token_uri", ""), "one in the clear": changed("token_uri", "http://oauth2.example/token"),
	} {
		if IsKey(b) {
			t.Errorf("%s is a key", what)
		}
	}
}
