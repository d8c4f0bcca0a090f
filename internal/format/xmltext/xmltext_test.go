package xmltext_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format/bound"
	"github.com/modelwarden/warden/internal/format/xmltext"
)

const model = `<?xml version="1.0"?>
<!DOCTYPE net [ <!ENTITY a SYSTEM "file:///etc/passwd"> <!ENTITY b "text"> ]>
<net name="n" version="11"><layers>
<layer id="0" name="x" type="Parameter" version="opset1"/><layer id="1" type="Parameter" version="opset1"/>
<layer id="2" type="Mine" version="extension" library="/tmp/x.so"/></layers>
<Extension name="k" value="v">exec(1)</Extension></net>`

func TestOpen(t *testing.T) {
	d, err := xmltext.Open(t.Context(), []byte(model), bound.Default())
	if err != nil || d.Root != "net" {
		t.Fatalf("%+v, %v", d, err)
	}
	show := func(list []xmltext.Mark) (out []string) {
		for _, m := range list {
			out = append(out, m.Element+" "+m.Key+" "+m.Value)
		}
		return out
	}
	if diff := cmp.Diff([]string{" SYSTEM <!ENTITY a SYSTEM", "  <!ENTITY b "}, show(d.Entities)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"layer library /tmp/x.so", "Extension value v", "Extension  exec(1)"}, show(d.Marks)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"opset1 type Parameter", "extension type Mine"}, show(d.Layers)); diff != "" {
		t.Error(diff)
	}
}

func TestDamage(t *testing.T) {
	if _, err := xmltext.Open(t.Context(), []byte(strings.Repeat("<a>", 500)), bound.Default()); !errors.Is(err, detect.ErrLimit) {
		t.Errorf("deep: %v", err)
	}
	for _, s := range []string{"", "<a>", "<a></b>", "</a>", "<a", "<a/><!--", "<a>&x;</a>"} {
		if _, err := xmltext.Open(t.Context(), []byte(s), bound.Default()); err == nil {
			t.Errorf("%q is XML", s)
		}
	}
}

func FuzzOpen(f *testing.F) {
	f.Add([]byte(model))
	f.Add([]byte("<a><b/>text</a>"))
	f.Fuzz(func(t *testing.T, b []byte) {
		one, err1 := xmltext.Open(t.Context(), b, bound.Default())
		two, err2 := xmltext.Open(t.Context(), b, bound.Default())
		if d := cmp.Diff(one, two); d != "" || (err1 == nil) != (err2 == nil) {
			t.Error("same bytes, other result", d)
		}
	})
}
