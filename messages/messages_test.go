package messages

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// all is one of each message. A test compares it with the source.
var all = []any{
	Claim{},
	Withdraw{},
	Release{},
	ProbeAnswered{},
	ProbeExpired{},
	ProbeDue{},
	GraceExpired{},
	ShutDown{},
	OperatorRelease{},
	Granted{},
	Refused{},
	Probe{},
	Evicted{},
	Settled{},
	Received{},
	Ponged{},
	Ended{},
	Written{},
	Join{},
	Leave{},
	Attached{},
	Parked{},
	Attach{},
	Credit{},
	Frame{},
	Detach{},
	Deliver{},
}

// declared returns the doc comment of each type of this package that is a message: that has a sealing method.
func declared(t *testing.T) map[string]string {
	set := token.NewFileSet()
	notTests := func(f fs.FileInfo) bool { return !strings.HasSuffix(f.Name(), "_test.go") }
	packages, err := parser.ParseDir(set, ".", notTests, parser.ParseComments) //nolint:staticcheck // one package, no build tags
	if err != nil {
		t.Fatal(err)
	}
	sealed, docs := map[string]bool{}, map[string]string{}
	for _, file := range packages["messages"].Files {
		for _, d := range file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Recv != nil && strings.HasPrefix(d.Name.Name, "to") {
					of := d.Recv.List[0].Type
					if lent, ok := of.(*ast.StarExpr); ok {
						of = lent.X
					}
					sealed[of.(*ast.Ident).Name] = true
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					if spec, ok := spec.(*ast.TypeSpec); ok {
						docs[spec.Name.Name] = d.Doc.Text() + spec.Doc.Text()
					}
				}
			}
		}
	}
	for name := range docs {
		if !sealed[name] {
			delete(docs, name)
		}
	}
	return docs
}

func TestEachMessageSaysWhoSendsItAndWhatComesBack(t *testing.T) {
	docs := declared(t)
	for name, doc := range docs {
		for _, word := range []string{"\tFrom ", "\tAnswer "} {
			if !strings.Contains(doc, word) {
				t.Errorf("%s: its comment has no line %q: say who sends it, and what comes back", name, strings.TrimSpace(word))
			}
		}
		if !slices.ContainsFunc(all, func(m any) bool { return reflect.TypeOf(m).Name() == name }) {
			t.Errorf("%s is not in the list of this test", name)
		}
	}
	if len(docs) != len(all) {
		t.Errorf("%d messages are declared, %d listed", len(docs), len(all))
	}
}

func TestMessagesAreFlatData(t *testing.T) {
	for _, m := range all {
		flat(t, reflect.TypeOf(m).Name(), reflect.TypeOf(m))
	}
}

// flat: what could not be written to a file, or means something in one process only, has no place in a message.
func flat(t *testing.T, path string, of reflect.Type) {
	switch {
	case of == reflect.TypeFor[time.Time](), of == reflect.TypeFor[[]byte]():
		return
	case of.Kind() == reflect.Struct:
		for f := range of.Fields() {
			if !f.IsExported() {
				t.Errorf("%s.%s is not exported: an encoder would leave it out", path, f.Name)
			} else {
				flat(t, path+"."+f.Name, f.Type)
			}
		}
		return
	}
	switch of.Kind() {
	case reflect.Bool, reflect.String, reflect.Int64, reflect.Uint64, reflect.Uint16:
	default:
		t.Errorf("%s is a %s: a message holds plain values; send an address, a number or a word for it", path, of)
	}
}

func TestMessagesSurviveAnEncoder(t *testing.T) {
	for _, m := range all {
		sent := reflect.New(reflect.TypeOf(m))
		next := 0
		fill(sent.Elem(), &next)
		bytes, err := json.Marshal(sent.Interface())
		if err != nil {
			t.Fatal(err)
		}
		got := reflect.New(reflect.TypeOf(m))
		if err := json.Unmarshal(bytes, got.Interface()); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(sent.Interface(), got.Interface()) {
			t.Errorf("%T: sent %+v, got %+v", m, sent.Elem(), got.Elem())
		}
	}
}

// fill gives each field a value of its own.
func fill(v reflect.Value, next *int) {
	*next++
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(time.Unix(int64(*next), 123456789).UTC()))
	case v.Type() == reflect.TypeFor[[]byte]():
		v.SetBytes([]byte{byte(*next), 0xff, 0})
	case v.Kind() == reflect.Struct:
		for _, field := range v.Fields() {
			fill(field, next)
		}
	case v.Kind() == reflect.String:
		v.SetString(strings.Repeat("x", *next))
	case v.CanInt():
		v.SetInt(int64(*next))
	case v.CanUint():
		v.SetUint(uint64(*next))
	case v.Kind() == reflect.Bool:
		v.SetBool(true)
	}
}

func TestSendableCloseCodes(t *testing.T) {
	for code := range 1 << 16 {
		want := code >= 1000 && code <= 1003 || code >= 1007 && code <= 1014 || code >= 3000 && code <= 4999
		if CloseCode(code).Sendable() != want {
			t.Errorf("%d: Sendable is %v", code, !want)
		}
	}
}

func TestHeadersAreParsedByTheirRule(t *testing.T) {
	long := strings.Repeat("a", MaxHeaderChars)
	for _, c := range []struct {
		s               string
		server, version bool
	}{
		{"", false, false},
		{"home", true, true},
		{"1.4.2 (linux)", false, true},
		{"!~", true, true},
		{" ", false, true},
		{"a\tb", false, false},
		{"a\x7f", false, false},
		{"h\u00f6me", false, false},
		{long, true, true},
		{long + "a", false, false},
	} {
		if got, err := ParseServerID(c.s); (err == nil) != c.server || err == nil && string(got) != c.s {
			t.Errorf("ParseServerID(%q) = %q, %v", c.s, got, err)
		}
		if got, err := ParseVersion(c.s); (err == nil) != c.version || err == nil && string(got) != c.s {
			t.Errorf("ParseVersion(%q) = %q, %v", c.s, got, err)
		}
	}
}
