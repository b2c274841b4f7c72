package transport

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// issued makes a certificate for this machine that is valid between the two times, and puts it and its key into files.
func issued(t testing.TB, from, to time.Time) Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	of := &x509.Certificate{SerialNumber: serial, NotBefore: from, NotAfter: to, DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, of, of, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	c := Certificate{File: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem")}
	for file, block := range map[string]*pem.Block{c.File: {Type: "CERTIFICATE", Bytes: der}, c.KeyFile: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func valid(t testing.TB) Certificate {
	return issued(t, time.Now().Add(-time.Hour), time.Now().Add(90*24*time.Hour))
}

var (
	testTLSOnce sync.Once
	testPair    *tls.Certificate
)

// testTLS is the relay's configuration, with one certificate for all tests.
func testTLS(t testing.TB) *tls.Config {
	testTLSOnce.Do(func() {
		var err error
		if testPair, err = valid(t).Load(); err != nil {
			t.Fatal(err)
		}
	})
	return tlsConfig(func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return testPair, nil })
}
