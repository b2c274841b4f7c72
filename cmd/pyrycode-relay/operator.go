package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"os/signal"
	"strings"
	"syscall"
)

// operator is what the commands that ask a running relay have in common.
type operator struct {
	URL  string `default:"http://127.0.0.1:9180" placeholder:"URL" help:"Where the relay's admin listener is (${default})."`
	JSON bool   `help:"One JSON object a line, for pipes."`
}

// Validate is called by kong.
func (o *operator) Validate() error {
	if u, err := url.Parse(o.URL); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("--url %q: want one such as http://127.0.0.1:9180", o.URL)
	}
	return nil
}

// ask sends a request. The answer is 200, and to be closed, or there is an error. Nothing here has a time limit of its own: a person
// waits, and has Ctrl-C.
func (o *operator) ask(ctx context.Context, method, path string, query url.Values, header http.Header) (*http.Response, error) {
	to := strings.TrimSuffix(o.URL, "/") + path
	if len(query) > 0 {
		to += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, to, nil)
	if err != nil {
		return nil, err
	}
	maps.Copy(req.Header, header)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%w (is the relay running, with its admin listener there?)", err)
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		why, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		return nil, &answer{resp.StatusCode, fmt.Sprintf("%s %s: %s: %s", method, to, resp.Status, strings.TrimSpace(string(why)))}
	}
	return resp, nil
}

// answer is one that is not 200.
type answer struct {
	status int
	text   string
}

func (a *answer) Error() string { return a.text }

// passes reports whether err may be over once the relay is back: what it refuses is not, nor what cannot be printed.
func passes(ctx context.Context, err error) bool {
	var refused *answer
	var output *fs.PathError
	return ctx.Err() == nil && !errors.As(err, &output) && (!errors.As(err, &refused) || refused.status >= http.StatusInternalServerError)
}

// untilInterrupted runs what may last, and gives the exit code. That somebody ends it is no failure.
func untilInterrupted(do func(context.Context) error) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := do(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return fail(exitFailure, err)
	}
	return 0
}
