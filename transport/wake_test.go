package transport

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestBinaryWakesPhones: an envelope becomes a message to FCM; what is too much is dropped, with a line in the log, and no frame
// waits for any of it. The token is nowhere but there.
func TestBinaryWakesPhones(t *testing.T) {
	const token = "tell-nobody"
	stuck, woken := make(chan struct{}), make(chan string, 100)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"access_token":"a","token_type":"Bearer","expires_in":3600}`)
	})
	mux.HandleFunc("POST /send", func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		woken <- string(body)
		<-stuck
	})
	fcm := httptest.NewServer(mux)
	defer fcm.Close()
	defer close(stuck)
	var log loglines
	cfg := testConfig()
	cfg.Log, cfg.PushKey, cfg.pushEndpoint = log.log(), pushKey(t, fcm.URL+"/token"), fcm.URL+"/send"
	r := run(t, cfg)
	began := time.Now()
	binary := r.claims("home")
	phone := r.join("home")
	write(t, phone, `"hello"`)
	var from struct {
		Conn string `json:"conn_id"`
	}
	if err := json.Unmarshal([]byte(read(t, binary)), &from); err != nil {
		t.Fatal(err)
	}
	for n := range 10 {
		write(t, binary, `{"push_wake":{"platform":"fcm","token":"%s"}}`, token)
		write(t, binary, `{"conn_id":"%s","frame":%d}`, from.Conn, n)
		if got := read(t, phone); got != fmt.Sprint(n) {
			t.Fatalf("the phone gets %s", got)
		}
	}
	for range 6 {
		if got := <-woken; !strings.Contains(got, token) {
			t.Errorf("sent %s", got)
		}
	}
	write(t, binary, `{"push_wake":{"platform":"apns","token":"%s"}}`, token)
	write(t, binary, `{"push_wake":{"platform":"fcm"}}`)
	write(t, binary, `{"conn_id":"%s","frame":"after all that"}`, from.Conn)
	read(t, phone)
	if n := log.await("malformed_envelope"); n != 1 {
		t.Errorf("malformed_envelope was logged %d times", n)
	}
	n, sent := log.await("push_wake_dropped"), 6+len(woken)
	took := time.Since(began)
	if n > 1+int(took/time.Second) {
		t.Errorf("push_wake_dropped was logged %d times in %v", n, took)
	}
	if sent > 6+int(took/(10*time.Second)) {
		t.Errorf("%d were sent in %v", sent, took)
	}
	log.mu.Lock()
	defer log.mu.Unlock()
	if strings.Contains(log.text.String(), token) {
		t.Error("the log holds the token")
	}
}

func pushKey(t *testing.T, tokens string) []byte {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(map[string]string{
		"type": "service_account", "project_id": "p", "client_email": "e", "token_uri": tokens,
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}
