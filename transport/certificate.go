package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"
)

// keeper keeps the certificate that handshakes are answered with: the newest that its source has had. Whatever happens to the
// source, that one stays, and the log says so, once. No handshake waits for it.
type keeper struct {
	source   certificateSource
	interval time.Duration // between two looks at the source
	log      *slog.Logger
	current  atomic.Pointer[tls.Certificate]

	// From here on of the goroutine that keeps.
	trouble trouble
	warned  string // which certificate's end was told of, and how urgently
}

// certificateSource gives the newest certificate that there is. Its error is a reason to keep the one before.
type certificateSource func() (*tls.Certificate, error)

// keep looks at the source until ctx is done.
func (k *keeper) keep(ctx context.Context) {
	for ctx.Err() == nil {
		_ = k.look(ctx) // which has said so
		wait(ctx, k.interval)
	}
}

// look asks the source. One that still considers when ctx is done is not waited for.
func (k *keeper) look(ctx context.Context) error {
	type answer struct {
		cert *tls.Certificate
		err  error
	}
	answered := make(chan answer, 1)
	go func() { // ends with the source's own limits
		cert, err := k.source()
		answered <- answer{cert, err}
	}()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case a := <-answered:
		if a.err != nil {
			k.trouble.tell(func() { k.log.Error("certificate_not_renewed", "error", a.err) })
		} else if k.trouble.over(); k.current.Swap(a.cert) != a.cert {
			k.log.Info("certificate_in_use", "expires", a.cert.Leaf.NotAfter)
		}
		k.warn(time.Now())
		return a.err
	}
}

// warn says that the certificate is about to expire, or has, each once.
func (k *keeper) warn(now time.Time) {
	c := k.current.Load()
	if c == nil {
		return
	}
	left, lifetime := c.Leaf.NotAfter.Sub(now), c.Leaf.NotAfter.Sub(c.Leaf.NotBefore)
	urgency := ""
	switch {
	case left <= 0:
		urgency = "certificate_expired"
	case left < min(lifetime/6, 7*24*time.Hour): // ACME renews when a third is left
		urgency = "certificate_expires_soon"
	default:
		return
	}
	if this := urgency + " " + c.Leaf.SerialNumber.String(); k.warned != this {
		k.warned = this
		k.log.LogAttrs(context.Background(), slog.LevelError, urgency, slog.Time("expires", c.Leaf.NotAfter))
	}
}

var errNoCertificate = errors.New("there is no certificate yet")

// get answers a handshake.
func (k *keeper) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c := k.current.Load(); c != nil {
		return c, nil
	}
	return nil, errNoCertificate
}

// trouble is told of once, until it is over.
type trouble struct{ told bool }

func (t *trouble) tell(say func()) {
	if !t.told {
		t.told = true
		say()
	}
}

func (t *trouble) over() { t.told = false }

// Certificate names the files of a certificate of the operator's own.
type Certificate struct{ File, KeyFile string }

// Load reads the certificate and its key.
func (c Certificate) Load() (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(c.File, c.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("read the certificate %s and its key %s: %w", c.File, c.KeyFile, err)
	}
	return &pair, nil
}

// ownInterval is how soon a change of the files is seen.
const ownInterval = 2 * time.Second

// source reads the files again when one of them has changed.
func (c Certificate) source() certificateSource {
	var (
		read  [2]stamp // what the files were
		cert  *tls.Certificate
		fault error
	)
	return func() (*tls.Certificate, error) {
		is := [2]stamp{stampOf(c.File), stampOf(c.KeyFile)}
		if is == read && (cert != nil || fault != nil) {
			return cert, fault
		}
		read = is
		if loaded, err := c.Load(); err != nil {
			fault = err
		} else {
			cert, fault = loaded, nil
		}
		return cert, fault
	}
}

// stamp tells one state of a file from the next.
type stamp struct {
	changed time.Time
	size    int64
}

func stampOf(file string) stamp {
	info, err := os.Stat(file)
	if err != nil {
		return stamp{}
	}
	return stamp{info.ModTime(), info.Size()}
}

// tlsConfig is what both kinds of certificates are served with.
func tlsConfig(get func(*tls.ClientHelloInfo) (*tls.Certificate, error), protocols ...string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, GetCertificate: get,
		NextProtos: append([]string{"http/1.1"}, protocols...), // a WebSocket needs no other
		// Records of one packet first would be a system call each.
		DynamicRecordSizingDisabled: true,
	}
}
