package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"

	"github.com/pyrycode/pyrycode-relay/transport/admin"
)

// release is `pyrycode-relay release`: the operator throws a holder out.
type release struct {
	operator
	ServerID       string `arg:"" name:"id" help:"Whose holder is thrown out."`
	AdminTokenFile string `placeholder:"FILE" help:"Where the relay left its token; by default where a relay of this user with that port leaves it."`

	table *table
}

func runRelease(args []string) int {
	r := release{table: newTable(os.Stdout)}
	err := parse(&r, args, "pyrycode-relay release",
		"Throw out whoever holds a server-id: its connection is closed with 1012, and the slot is in grace. A daemon will dial again, and get it back, unless another is faster or it is stopped.")
	if err != nil {
		return fail(exitConfig, err)
	}
	return untilInterrupted(r.run)
}

func (r *release) run(ctx context.Context) error {
	token, err := r.token()
	if err != nil {
		return err
	}
	resp, err := r.ask(ctx, http.MethodPost, "/slots/release", url.Values{"server_id": {r.ServerID}}, http.Header{"Authorization": {"Bearer " + token}})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	entry, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	return r.table.decisions(r.JSON, json.RawMessage(entry[:max(0, len(entry)-1)]))
}

func (r *release) token() (string, error) {
	file := r.AdminTokenFile
	if file == "" {
		u, err := url.Parse(r.URL)
		if err != nil {
			return "", err
		}
		if file, err = admin.DefaultTokenFile(u.Port()); err != nil {
			return "", err
		}
	}
	return admin.ReadToken(file)
}
