package push

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net"
	"net/url"
	"regexp"

	"golang.org/x/oauth2/jwt"
)

// key is what is used of a service account's.
type key struct {
	Type    string `json:"type"`
	Project string `json:"project_id"`
	ID      string `json:"private_key_id"`
	Private string `json:"private_key"`
	Email   string `json:"client_email"`
	Tokens  string `json:"token_uri"`
}

// IsKey reports whether b is the JSON of a service account's key. It does not say why not: that would quote it.
func IsKey(b []byte) bool {
	_, ok := parseKey(b)
	return ok
}

var project = regexp.MustCompile(`^[a-z0-9.:-]+$`) // it becomes a part of a URL

func parseKey(b []byte) (k key, ok bool) {
	if json.Unmarshal(b, &k) != nil || k.Type != "service_account" || k.Email == "" || !project.MatchString(k.Project) {
		return k, false
	}
	block, _ := pem.Decode([]byte(k.Private))
	if block == nil {
		return k, false
	}
	private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if _, isRSA := private.(*rsa.PrivateKey); err != nil || !isRSA {
		return k, false
	}
	return k, secret(k.Tokens)
}

// secret: nobody listens in between here and there.
func secret(address string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Scheme == "https" && u.Host != "" || u.Scheme == "http" && ip != nil && ip.IsLoopback()
}

func (k key) config() *jwt.Config {
	return &jwt.Config{
		Email: k.Email, PrivateKey: []byte(k.Private), PrivateKeyID: k.ID, TokenURL: k.Tokens,
		Scopes: []string{"https://www.googleapis.com/auth/firebase.messaging"},
	}
}
