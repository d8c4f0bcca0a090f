package wire_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/modelwarden/warden/internal/chat/wire"
)

func TestParse(t *testing.T) {
	d, err := wire.Parse([]byte(` {"model":"m","n":3,"stream":true,"messages":[{"role":"user","content":"a\n\ud83d\ude00"},{}],"x":{"y":[1,[2]]},"z":null}`), wire.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	r := d.Root()
	if s, ok := r.Get("model").Text(); s != "m" || !ok {
		t.Errorf("model = %q, %v", s, ok)
	}
	if n, ok := r.Get("n").Int(); n != 3 || !ok {
		t.Errorf("n = %d, %v", n, ok)
	}
	if b, ok := r.Get("stream").Bool(); !b || !ok {
		t.Errorf("stream = %v, %v", b, ok)
	}
	var contents []string
	for m := range r.Get("messages").Items() {
		s, _ := m.Get("content").Text()
		contents = append(contents, s)
	}
	if len(contents) != 2 || contents[0] != "a\n😀" {
		t.Errorf("contents = %q", contents)
	}
	if k := r.Get("z").Kind(); k != wire.Null {
		t.Errorf("z is %v", k)
	}
	if k := r.Get("nothing").Get("at").Kind(); k != wire.Missing {
		t.Errorf("nothing.at is %v", k)
	}
	d2, err := d.Splice(r.Get("model"), []byte(`"other"`), wire.DefaultLimits())
	if err != nil || !strings.Contains(string(d2.Bytes()), `{"model":"other","n":3`) {
		t.Errorf("Splice = %s, %v", d2.Bytes(), err)
	}
}

// TestRefuses lists what parsers disagree about.
func TestRefuses(t *testing.T) {
	for name, body := range map[string]string{
		"empty": "", "duplicate": `{"a":1,"a":2}`, "duplicate_escaped": `{"a":1,"\u0061":2}`, "trailing": `{} {}`, "comma": `{"a":1,}`,
		"array_comma": `[1,]`, "comment": `{/**/}`, "bom": "\ufeff{}", "invalid_utf8": "\"\xff\"", "lone_surrogate": `"\ud800"`, "swapped_surrogates": `"\ude00\ud83d"`,
		"huge_number": `1e400`, "leading_zero": `01`, "plus": `+1`, "nan": `NaN`, "single_quotes": `{'a':1}`, "control": "\"\x01\"",
		"deep": strings.Repeat("[", 100) + strings.Repeat("]", 100), "many": "[" + strings.Repeat("1,", 100_001) + "1]",
		"duplicate_of_many": `{"a":0,"b":0,"c":0,"d":0,"e":0,"f":0,"g":0,"h":0,"i":0,"j":0,"k":0,"l":0,"m":0,"n":0,"o":0,"p":0,"q":0,"r":0,"a":0}`,
		"open":              `{"a":`, "open_string": `"a`, "bad_escape": `"\x"`, "signed_escape": `"\u+123"`, "digits": strings.Repeat("1", 70),
	} {
		t.Run(name, func(t *testing.T) {
			if d, err := wire.Parse([]byte(body), wire.DefaultLimits()); !errors.Is(err, wire.ErrSyntax) {
				t.Errorf("Parse(%.40q) = %v, %v; want ErrSyntax", body, d, err)
			}
		})
	}
}

// FuzzParse: what is accepted, encoding/json accepts and reads alike.
func FuzzParse(f *testing.F) {
	for _, s := range []string{`{"model":"m","messages":[{"role":"user","content":"hi"}]}`, `[1,2.5e3,"\u00e9",null,true]`, `{"a":{"b":[]}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := wire.Parse(b, wire.Limits{Bytes: 1 << 16, Depth: 32, Values: 1000})
		if err != nil {
			return
		}
		var v any
		if err := json.Unmarshal(b, &v); err != nil {
			t.Fatalf("accepted what encoding/json refuses: %v", err)
		}
		var back func(wire.Value) any
		back = func(x wire.Value) any {
			switch x.Kind() {
			case wire.Object:
				m := map[string]any{}
				for n, y := range x.Members() {
					m[n] = back(y)
				}
				return m
			case wire.Array:
				a := []any{}
				for y := range x.Items() {
					a = append(a, back(y))
				}
				return a
			case wire.String:
				s, _ := x.Text()
				return s
			default:
				var y any
				if err := json.Unmarshal(x.Raw(), &y); err != nil {
					t.Fatal(err)
				}
				return y
			}
		}
		want, _ := json.Marshal(v)
		got, _ := json.Marshal(back(d.Root()))
		if !bytes.Equal(want, got) {
			t.Fatalf("read %s, encoding/json %s", got, want)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	body := []byte(`{"model":"m","stream":true,"messages":[` + strings.Repeat(`{"role":"user","content":"`+strings.Repeat("lorem ipsum ", 16)+`"},`, 16) + `{}]}`)
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if _, err := wire.Parse(body, wire.DefaultLimits()); err != nil {
			b.Fatal(err)
		}
	}
}
