// Package leak ends a package's tests: no goroutine is to outlive them.
package leak

import (
	"fmt"
	"net/http"
	"os"
	"time"

	"go.uber.org/goleak"
)

// patience is how long a goroutine that is ending may take for it, on a machine that does much else.
var patience = time.Minute

// Main runs the tests, a [testing.M], and gives the exit code: theirs, or 1 where a goroutine stays behind.
func Main(tests interface{ Run() int }) (code int) {
	code = tests.Run()
	http.DefaultClient.CloseIdleConnections()
	err := goleak.Find()
	for late := time.Now().Add(patience); err != nil && time.Now().Before(late); {
		err = goleak.Find()
	}
	if err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}
