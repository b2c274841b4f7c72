package admin

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// DefaultTokenFile is where a relay whose admin listener has that port leaves its token, unless told otherwise.
func DefaultTokenFile(port string) (string, error) {
	dir := os.Getenv("XDG_RUNTIME_DIR")
	if dir == "" {
		var err error
		if dir, err = os.UserCacheDir(); err != nil {
			return "", fmt.Errorf("no place for the admin token (%w): want --admin-token-file", err)
		}
	}
	return filepath.Join(dir, "pyrycode-relay", "admin-"+port+".token"), nil
}

// NewToken makes a token, and leaves it in file, which only its user can read. What was there is replaced, be it a link.
func NewToken(file string) (token string, err error) {
	token = rand.Text()
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make a place for the admin token: %w", err)
	}
	f, err := os.CreateTemp(dir, ".token-*") // made with mode 0600
	if err != nil {
		return "", fmt.Errorf("write the admin token: %w", err)
	}
	_, err = f.WriteString(token + "\n")
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return "", fmt.Errorf("write the admin token: %w", err)
	}
	return token, nil
}

// ReadToken reads what NewToken has written.
func ReadToken(file string) (string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("read the admin token: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}
