package actors

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/pyrycode/pyrycode-relay/"

// source calls visit with each function of the module's own code, tests left out, in the folders below the root that are given.
func source(t *testing.T, folders []string, visit func(file *ast.File, path string)) *token.FileSet {
	set := token.NewFileSet()
	for _, folder := range folders {
		err := filepath.WalkDir(filepath.Join("..", folder), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(set, path, nil, 0)
			if err == nil {
				visit(file, filepath.ToSlash(strings.TrimPrefix(path, ".."+string(filepath.Separator))))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return set
}

// mayWait lists the functions of the actors' rooms in which something stands that waits or may, and why that is none that holds
// up an actor.
var mayWait = map[string]string{
	"actors/mailbox.go UserMessageCount":  "held for a read",
	"actors/mailbox.go PostUserMessage":   "held to queue a message, never while an actor runs",
	"actors/mailbox.go PostSystemMessage": "likewise",
	"actors/mailbox.go next":              "likewise",
	"actors/mailbox.go awaitRoom":         "a socket's reader waits here; no actor calls it",
	"actors/mailbox.go handOver":          "the mailbox's one goroutine",
	"actors/journal.go append":            "held to copy an entry; sends into a channel that has room for it",
	"actors/journal.go Await":             "called by the admin listener's one reader, never by an actor",
	"actors/journal.go Read":              "held to copy a few entries",
	"actors/mailbox.go overrun":           "held for a read",
	"actors/connection.go start":          "held for a spawn; called by whoever accepts a connection",
	"actors/journal.go Last":              "held for a read",
	"actors/registry.go await":            "sends into a channel that has room for it",
	"actors/registry.go look":             "likewise",
	"actors/ask.go waitFor":               "called by the admin listener and the server, never by an actor",
	"actors/relay.go Stop":                "called by the server, never by an actor",
}

// TestNoReceiveWaits: an actor runs on its sender's goroutine, so one that waits stops its senders, and theirs.
func TestNoReceiveWaits(t *testing.T) {
	used := map[string]bool{}
	var set *token.FileSet
	var findings []func() string
	set = source(t, []string{"actors", "messages"}, func(file *ast.File, path string) {
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			where := path + " " + f.Name.Name
			ast.Inspect(f, func(n ast.Node) bool {
				what := waits(n)
				if what == "" {
					return true
				}
				used[where] = true
				if mayWait[where] == "" {
					findings = append(findings, func() string {
						return fmt.Sprintf("%s: %s in %s: no actor may wait; send a message, and have the answer sent back (or say in mayWait why nobody waits here)",
							set.Position(n.Pos()), what, f.Name.Name)
					})
				}
				return true
			})
		}
	})
	for _, finding := range findings {
		t.Error(finding())
	}
	for where := range mayWait {
		if !used[where] {
			t.Errorf("%s: nothing there waits any more; take it off the list", where)
		}
	}
}

// waits names what may wait.
func waits(n ast.Node) string {
	switch n := n.(type) {
	case *ast.GoStmt:
		return "a go statement"
	case *ast.SendStmt:
		return "a channel send"
	case *ast.SelectStmt:
		return "a select"
	case *ast.UnaryExpr:
		if n.Op == token.ARROW {
			return "a channel receive"
		}
	case *ast.CallExpr:
		if s, ok := n.Fun.(*ast.SelectorExpr); ok && slices.Contains([]string{"Lock", "RLock", "Wait", "Sleep", "Do", "RequestFuture", "Result"}, s.Sel.Name) {
			return "a call of " + s.Sel.Name
		}
	}
	return ""
}

// mayImport is the direction of imports: each room, and which other rooms it may see.
var mayImport = map[string][]string{
	"messages":                  {},
	"actors/slots":              {"messages"},
	"actors/envelope":           {},
	"actors/tally":              {},
	"actors/replay":             {"actors/slots", "messages"},
	"actors":                    {"actors/envelope", "actors/slots", "actors/tally", "messages"},
	"transport/viewer":          {"actors/slots", "messages"},
	"transport/admin":           {"transport/viewer", "actors", "actors/slots", "messages"},
	"transport":                 {"transport/admin", "transport/push", "actors", "actors/replay", "actors/slots", "actors/tally", "messages"},
	"transport/push":            {"actors/tally"},
	"transport/client":          {}, // it must catch the relay's bugs, not repeat them
	"transport/measure":         {"transport", "actors", "actors/slots", "messages"},
	"transport/measure/browser": {}, // for tests alone
	"transport/measure/leak":    {}, // likewise
	"transport/measure/port":    {}, // likewise
	"cmd/pyrycode-relay":        {"transport/admin", "transport/push", "transport/viewer", "transport", "actors", "actors/replay", "actors/slots", "messages"},
	"cmd/claimstorm":            {"transport/client", "cmd/claimstorm/history", "cmd/claimstorm/report"}, // and so must this
	"cmd/claimstorm/history":    {},
	"cmd/claimstorm/report":     {},
}

func TestImportsGoOneWay(t *testing.T) {
	source(t, []string{"messages", "actors", "transport", "cmd"}, func(file *ast.File, path string) {
		room := filepath.ToSlash(filepath.Dir(path))
		allowed, known := mayImport[room]
		if !known {
			t.Errorf("%s: a room that this test does not know; say in mayImport what it may see", path)
		}
		for _, spec := range file.Imports {
			imported, _ := strconv.Unquote(spec.Path.Value)
			if other, ours := strings.CutPrefix(imported, module); ours && !slices.Contains(allowed, other) {
				t.Errorf("%s imports %s; imports go cmd -> transport -> actors -> actors/slots, actors/envelope -> messages", path, other)
			}
			if room == "actors/slots" && slices.Contains([]string{"sync", "math/rand", "math/rand/v2", "context", "log/slog", "os"}, imported) {
				t.Errorf("%s imports %s; the machine has no clock, chance, lock or log", path, imported)
			}
		}
	})
}

// TestLogKeysAreOnTheList walks every log call of the module. A key that is not a literal cannot be judged, and is an error too.
func TestLogKeysAreOnTheList(t *testing.T) {
	used := map[string]bool{}
	source(t, []string{"messages", "actors", "transport", "cmd"}, func(file *ast.File, path string) {
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			for _, key := range logKeys(call) {
				name, err := strconv.Unquote(literal(key))
				if err != nil {
					t.Errorf("%s: a log key that is not a literal string", path)
					continue
				}
				used[name] = true
				if !slices.Contains(LogKeys, name) {
					t.Errorf("%s: log key %q is not in actors.LogKeys: is it sure to hold no frame, token or header?", path, name)
				}
			}
			return true
		})
	})
	for _, key := range LogKeys {
		if !used[key] {
			t.Errorf("log key %q is on the list, and nobody uses it", key)
		}
	}
	if !slices.IsSorted(LogKeys) {
		t.Error("LogKeys are not in order")
	}
}

// TestEventsAreInTheProtocol: whoever reads a log finds what its lines are about in docs/protocol.md 8.
func TestEventsAreInTheProtocol(t *testing.T) {
	page, err := os.ReadFile("../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	events := 0
	source(t, []string{"messages", "actors", "transport", "cmd/pyrycode-relay"}, func(file *ast.File, path string) {
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) == 0 {
				return true
			}
			says := ""
			switch f := call.Fun.(type) {
			case *ast.SelectorExpr:
				says = f.Sel.Name
			case *ast.Ident: // logDecision's own
				says = f.Name
			}
			event, err := strconv.Unquote(literal(call.Args[0]))
			if err == nil && slices.Contains([]string{"Debug", "Info", "info", "Warn", "Error"}, says) {
				events++
				if !strings.Contains(string(page), "`"+event+"`") {
					t.Errorf("%s: docs/protocol.md 8 does not say what %s is", path, event)
				}
			}
			return true
		})
	})
	if events < 20 {
		t.Errorf("%d events were found: this proves nothing", events)
	}
}

// logKeys are the arguments of call that are keys of a log line: in slog.String("key", ...) the first, in
// log.Info("event", "key", value, ...) every second.
func logKeys(call *ast.CallExpr) (keys []ast.Expr) {
	s, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || len(call.Args) == 0 {
		return nil
	}
	if room, ok := s.X.(*ast.Ident); ok && room.Name == "slog" {
		if slices.Contains([]string{"String", "Int", "Int64", "Uint64", "Float64", "Bool", "Time", "Duration", "Any", "Group"}, s.Sel.Name) {
			return call.Args[:1]
		}
		return nil
	}
	if !slices.Contains([]string{"Debug", "Info", "Warn", "Error"}, s.Sel.Name) || isIdent(s.X, "http") {
		return nil
	}
	for i := 1; i < len(call.Args); i++ {
		if attr, ok := call.Args[i].(*ast.CallExpr); ok && len(logKeys(attr)) > 0 {
			continue // slog.String and the like stand for a key and its value
		}
		keys = append(keys, call.Args[i])
		i++
	}
	return keys
}

func isIdent(e ast.Expr, name string) bool {
	i, ok := e.(*ast.Ident)
	return ok && i.Name == name
}

func literal(e ast.Expr) string {
	if l, ok := e.(*ast.BasicLit); ok && l.Kind == token.STRING {
		return l.Value
	}
	return ""
}
