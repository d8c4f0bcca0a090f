package wire_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/modelwarden/warden/internal/chat/wire"
)

// value draws a JSON value with spaces where there can be some.
func value(t *rapid.T, depth int) string {
	sp := rapid.SampledFrom([]string{"", " ", "\n\t"})
	kinds := 6
	if depth > 3 {
		kinds = 4
	}
	switch rapid.IntRange(0, kinds-1).Draw(t, "kind") {
	case 0:
		return rapid.SampledFrom([]string{"null", "true", "false"}).Draw(t, "word")
	case 1:
		return fmt.Sprint(rapid.IntRange(-1000, 1000).Draw(t, "number"))
	case 2, 3:
		return rapid.SampledFrom([]string{`""`, `"a\u0062\n"`, `"\ud83d\ude00x"`, `"é\"\\"`, `"plain"`}).Draw(t, "string")
	case 4:
		var items []string
		for range rapid.IntRange(0, 4).Draw(t, "items") {
			items = append(items, sp.Draw(t, "sp")+value(t, depth+1)+sp.Draw(t, "sp"))
		}
		return "[" + strings.Join(items, ",") + "]"
	}
	var members []string
	for i := range rapid.IntRange(0, 4).Draw(t, "members") {
		members = append(members, fmt.Sprintf(`%s"m%d"%s:%s`, sp.Draw(t, "sp"), i, sp.Draw(t, "sp"), value(t, depth+1)))
	}
	return "{" + strings.Join(members, ",") + sp.Draw(t, "sp") + "}"
}

// TestEdits: whatever is changed at once, the body afterwards says what the
// same changes make of the parsed value, and without a change it is the same.
func TestEdits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		body := []byte(`{"x":` + value(t, 0) + `,"y":` + value(t, 0) + `}`)
		d, err := wire.Parse(body, wire.DefaultLimits())
		if err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		e := d.Edit()
		if b, err := e.Bytes(); err != nil || !bytes.Equal(b, body) {
			t.Fatalf("%s without a change: %s, %v", body, b, err)
		}
		want := change(t, e, d.Root())
		out, err := e.Apply(wire.DefaultLimits())
		if err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		var got any
		if err := json.Unmarshal(out.Bytes(), &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%s became %s, want %v (%v)", body, out.Bytes(), want, err)
		}
	})
}

// change edits v at random and returns what it then is.
func change(t *rapid.T, e *wire.Edits, v wire.Value) any {
	do := rapid.IntRange(0, 5).Draw(t, "do")
	switch v.Kind() {
	case wire.Object:
		out := map[string]any{}
		for name, m := range v.Members() {
			if rapid.IntRange(0, 3).Draw(t, "remove") == 0 {
				e.Remove(v, m)
				continue
			}
			out[name] = change(t, e, m)
		}
		if do == 0 {
			e.Set(v, "new", []byte(`[1]`))
			out["new"] = []any{1.0}
		}
		return out
	case wire.Array:
		out := []any{}
		for m := range v.Items() {
			if rapid.IntRange(0, 3).Draw(t, "remove") == 0 {
				e.Remove(v, m)
				continue
			}
			out = append(out, change(t, e, m))
		}
		if do == 0 {
			e.Insert(v, v.Len(), []byte(`"last"`))
			out = append(out, "last")
		}
		return out
	case wire.String:
		s, _ := v.Text()
		if do > 1 || s == "" {
			return s
		}
		r := []rune(s)
		i := rapid.IntRange(0, len(r)).Draw(t, "from")
		j := rapid.IntRange(i, len(r)).Draw(t, "to")
		e.ReplaceText(v, len(string(r[:i])), len(string(r[:j])), []byte("<\"\x01>"))
		return string(r[:i]) + "<\"\x01>" + string(r[j:])
	}
	if do == 0 {
		e.Replace(v, []byte(`"other"`))
		return "other"
	}
	var out any
	if err := json.Unmarshal(v.Raw(), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestEditsRefused(t *testing.T) {
	parse := func() (*wire.Doc, wire.Value) {
		d, err := wire.Parse([]byte(`{"a":"\ud83d\ude00x","b":[1,2],"c":{"d":1}}`), wire.DefaultLimits())
		if err != nil {
			t.Fatal(err)
		}
		return d, d.Root()
	}
	for name, edit := range map[string]func(e *wire.Edits, v wire.Value){
		"half_character": func(e *wire.Edits, v wire.Value) { e.ReplaceText(v.Get("a"), 1, 4, nil) },
		"past_the_end":   func(e *wire.Edits, v wire.Value) { e.ReplaceText(v.Get("a"), 0, 99, nil) },
		"negative":       func(e *wire.Edits, v wire.Value) { e.ReplaceText(v.Get("a"), -1, 4, nil) },
		"backwards":      func(e *wire.Edits, v wire.Value) { e.ReplaceText(v.Get("a"), 5, 4, nil) },
		"no_string":      func(e *wire.Edits, v wire.Value) { e.ReplaceText(v.Get("b"), 0, 0, nil) },
		"twice": func(e *wire.Edits, v wire.Value) {
			e.Replace(v.Get("b"), []byte("1"))
			e.Replace(v.Get("b"), []byte("2"))
		},
		"inside": func(e *wire.Edits, v wire.Value) {
			e.Replace(v.Get("c"), []byte("1"))
			e.Set(v.Get("c"), "e", []byte("2"))
		},
		"missing":            func(e *wire.Edits, v wire.Value) { e.Replace(v.Get("z"), []byte("1")) },
		"not_in_it":          func(e *wire.Edits, v wire.Value) { e.Remove(v.Get("c"), v.Get("b")) },
		"other_body":         func(e *wire.Edits, _ wire.Value) { _, o := parse(); e.Replace(o.Get("b"), []byte("1")) },
		"range":              func(e *wire.Edits, _ wire.Value) { e.Range(5, 1000, nil) },
		"set_of_no_object":   func(e *wire.Edits, v wire.Value) { e.Set(v.Get("b"), "x", []byte("1")) },
		"insert_in_no_array": func(e *wire.Edits, v wire.Value) { e.Insert(v.Get("c"), 0, []byte("1")) },
	} {
		d, v := parse()
		e := d.Edit()
		edit(e, v)
		if b, err := e.Bytes(); !errors.Is(err, wire.ErrEdit) {
			t.Errorf("%s: %s, %v", name, b, err)
		}
	}
	d, v := parse()
	e := d.Edit()
	e.Set(v, "n", []byte("1"))
	e.Set(v, "n", []byte("2"))
	if _, err := e.Apply(wire.DefaultLimits()); !errors.Is(err, wire.ErrSyntax) {
		t.Errorf("one name twice: %v", err)
	}
}
