package jsontext_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/modelwarden/warden/internal/format/bound"
	"github.com/modelwarden/warden/internal/format/jsontext"
)

func TestParse(t *testing.T) {
	src := `{"a": [1, -2.5e3, true, null, "x\u00e9\n\ud83d\ude00"], "b": {"c": 1, "c": 2}, "n": NaN, "i": -Infinity}`
	d, err := jsontext.Parse(t.Context(), []byte(src), bound.Default())
	if err != nil {
		t.Fatal(err)
	}
	var items []string
	for v := range d.Root().Get("a").All {
		items = append(items, v.Raw())
	}
	if got := strings.Join(items[:4], " "); got != "1 -2.5e3 true null" {
		t.Errorf("items %q", got)
	}
	var text string
	for v := range d.Root().Get("a").All {
		text = v.Text()
	}
	if text != "xé\n😀" {
		t.Errorf("text %q", text)
	}
	n := 0
	for range d.Root().Get("b").All {
		n++
	}
	if c, _ := d.Root().Get("b").Get("c").Int(); n != 2 || c != 2 {
		t.Errorf("%d members, c = %d; want 2 and the last, 2", n, c)
	}
	all := 0
	d.Root().Get("b").Each(func(jsontext.Value) bool { all++; return true })
	if all != 3 {
		t.Errorf("Each visits %d values of b, want 3", all)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, src := range []string{"", "{", `{"a"}`, `[1,]`, `[1 2]`, `"x`, "tru", "1 2", `{a:1}`, strings.Repeat("[", 1000)} {
		if _, err := jsontext.Parse(t.Context(), []byte(src), bound.Default()); err == nil {
			t.Errorf("Parse(%.20q) took it", src)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{`{"a":[1,2,{"b":null}]}`, `[]`, `"\u12"`, `-1e9`, `{"a":1,"a":"\\"}`, "[[[[", "NaN"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := jsontext.Parse(t.Context(), b, bound.Default())
		if err == nil {
			d.Root().Each(func(v jsontext.Value) bool { _ = v.Key() + v.Text() + v.Raw(); return true })
		} else if json.Valid(b) && !strings.Contains(err.Error(), "limit") {
			t.Errorf("refused valid JSON %q: %v", b, err)
		}
	})
}
