package measure

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/pyrycode/pyrycode-relay/transport"
)

// overTLS is the kinds of servers that are dialled over TLS.
var overTLS = map[string]bool{"plain-tls": true, "relay-tls": true}

// servePlainTLS is servePlain behind a listener of crypto/tls.
func servePlainTLS(listening func(l, admin net.Addr)) error {
	c, remove, err := certificate()
	if err != nil {
		return err
	}
	defer remove()
	pair, err := c.Load()
	if err != nil {
		return err
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{*pair}})
	if err != nil {
		return err
	}
	return servePlainOn(l, listening)
}

// serveRelayTLS is the relay with a certificate of its own.
func serveRelayTLS(listening func(l, admin net.Addr)) error {
	c, remove, err := certificate()
	if err != nil {
		return err
	}
	defer remove()
	cfg := defaults()
	cfg.Listen, cfg.HTTPSListen, cfg.Certificate = "", "127.0.0.1:0", c
	return serve(cfg, listening)
}

// certificate makes one, in files that are to be removed.
func certificate() (c transport.Certificate, remove func(), err error) {
	dir, err := os.MkdirTemp("", "measure")
	if err != nil {
		return c, nil, err
	}
	c = transport.Certificate{File: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem")}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return c, nil, err
	}
	of := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour), DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, of, of, key.Public(), key)
	if err != nil {
		return c, nil, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return c, nil, err
	}
	for file, block := range map[string]*pem.Block{c.File: {Type: "CERTIFICATE", Bytes: der}, c.KeyFile: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			return c, nil, err
		}
	}
	return c, func() { _ = os.RemoveAll(dir) }, nil
}
