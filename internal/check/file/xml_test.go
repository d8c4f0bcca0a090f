package file

import (
	"strings"
	"testing"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect/detecttest"
	"github.com/modelwarden/warden/internal/format"
)

func TestXMLModels(t *testing.T) {
	pmml := func(before, inside string) *format.File {
		return open(t, "m.pmml", []byte(`<?xml version="1.0"?>`+before+`<PMML version="4.4" xmlns="http://www.dmg.org/PMML-4_4"><Header/>`+inside+`</PMML>`))
	}
	net := func(layers string) *format.File {
		return open(t, "m.xml", []byte(`<?xml version="1.0"?><net name="n" version="11"><layers>`+layers+`</layers></net>`))
	}
	ids := func(id ...warden.RuleID) []warden.RuleID { return id }
	detecttest.Accept(t, xmlModels, []fileCase{
		{Name: "honest_pmml", Subject: pmml("", `<Extension name="author" value="evaluation of systems">for import</Extension>`)},
		{Name: "honest_net", Subject: net(`<layer type="Const" version="opset1"/><layer type="FullyConnected" version="ie_internal_opset"/>`)},
		{Name: "honest_large", Subject: net(strings.Repeat(`<layer type="Const" version="opset1"/>`, 50_000))},
		{Name: "entity", Subject: pmml(`<!DOCTYPE PMML [<!ENTITY x SYSTEM "file:///etc/passwd">]>`, ""), Want: ids("WDN-MF-065")},
		{Name: "inner_entity", Subject: pmml(`<!DOCTYPE PMML [<!ENTITY x "lol">]>`, ""), Want: ids("WDN-MF-065")},
		{Name: "library", Subject: net(`<layer type="Const" version="opset1" library="/tmp/x.so"/>`), Want: ids("WDN-MF-066")},
		{Name: "extension_layer", Subject: net(`<layer type="Mine" version="extension"/>`), Want: ids("WDN-MF-066")},
		{Name: "script", Subject: pmml("", `<Extension name="x" value="__import__('os').system('id')"/>`), Want: ids("WDN-MF-067")},
	})
	if f := pmml(`<!DOCTYPE PMML [<!ENTITY x "lol">]>`, "&x;"); len(f.Unread) != 1 {
		t.Errorf("an entity in use was not refused: %v", f.Unread)
	}
}
