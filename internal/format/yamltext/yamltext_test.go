package yamltext_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format/yamltext"
)

func TestScan(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		want []string
	}{
		"plain":     {"model:\n  _target_: os.system\n  a: 1\n", []string{"_target_ os.system"}},
		"flow":      {"a: {_target_: 'os.system', b: [1]}\n", []string{"_target_ os.system"}},
		"escaped":   {"\"_tar\\x67et_\": \"os.sys\\x74em\"\n", []string{"_target_ os.system"}},
		"anchors":   {"x: &a os.system\nk: &k _target_\n_target_: *a\n", []string{"_target_ os.system"}},
		"alias_key": {"k: &k _target_\nb:\n  *k : os.system\n", []string{"_target_ os.system"}},
		"explicit":  {"? _target_\n: os.system\n", []string{"_target_ os.system"}},
		"tagged":    {"!!str _target_: !!str os.system\n", []string{"_target_ os.system"}},
		"block":     {"_target_: >-\n  os.system\n", []string{"_target_ os.system"}},
		"composed":  {"_target_: ${a}.system\n", []string{"_target_ ${a}.system ?"}},
		"mapping":   {"_target_: [a]\n", []string{"_target_  ?"}},
		"tag":       {"a: !!python/object/apply:os.system ['id']\n", []string{"tag object/apply:os.system"}},
		"verbatim":  {"a: !<tag:yaml.org,2002:python/name:os.system> ''\n", []string{"tag name:os.system"}},
		"percent":   {"a: !!%70ython/name:os.system ''\n", []string{"tag name:os.system"}},
		"handle":    {"%TAG !p! tag:yaml.org,2002:python/\n---\na: !p!name:os.system ''\n", []string{"tag name:os.system"}},
		"other":     {"a: !Ref x\nb: !!set {a}\n# _target_: x\nc: '_target_'\n", nil},
	} {
		items, err := yamltext.Scan(t.Context(), []byte(tt.text), "_target_")
		var got []string
		for _, i := range items {
			line := i.Key + " " + i.Value
			if !i.Known {
				line += " ?"
			}
			got = append(got, line)
		}
		if d := cmp.Diff(tt.want, got); d != "" || err != nil {
			t.Errorf("%s: %v %v", name, d, err)
		}
		if len(tt.want) > 0 && !yamltext.May([]byte(tt.text), "_target_") {
			t.Errorf("%s: not worth a look", name)
		}
	}
}

// TestHostileEnds scans texts on which a parser takes minutes: it must come back.
func TestHostileEnds(t *testing.T) {
	for name, s := range map[string]string{
		"flow": strings.Repeat("[", 1<<17), "questions": strings.Repeat("? ", 1<<16), "colons": strings.Repeat(": ", 1<<16), "anchors": strings.Repeat("&a ", 40_000),
		"tags": strings.Repeat("! ", 1<<16), "quotes": strings.Repeat(`"a" `, 1<<15), "members": "{" + strings.Repeat("a: b, ", 20_000) + "}",
		"escapes": `"` + strings.Repeat(`\x41`, 1<<15-1) + `"`, "spaces": strings.Repeat(" ", 1<<17), "lines": strings.Repeat("a\n", 1<<16), "percent": strings.Repeat("%TAG ! a\n", 12_000),
		"pipes": strings.Repeat("|\n", 1<<16), "dashes": strings.Repeat("- ", 1<<16), "comments": strings.Repeat("#\n", 1<<16), "folded": "a: " + strings.Repeat("b\n  ", 25_000), "single": strings.Repeat("'", 1<<17),
		"indents": strings.Repeat(strings.Repeat(" ", 1000)+"a:\n", 1000), "carriage": strings.Repeat("\r\n", 1<<16), "tabs": strings.Repeat("\t", 1<<17), "docs": strings.Repeat("---\n", 1<<15),
	} {
		if _, err := yamltext.Scan(t.Context(), []byte(s), "_target_"); err != nil {
			t.Logf("%s: %v", name, err)
		}
	}
	if _, err := yamltext.Scan(t.Context(), make([]byte, 2<<20)); !errors.Is(err, detect.ErrLimit) {
		t.Errorf("a text beyond the limit: %v", err)
	}
}

func FuzzScan(f *testing.F) {
	f.Add([]byte("a: !!python/name:os.system ''\n_target_: &a os.system\nb: *a\n"))
	f.Add([]byte("%TAG !p! tag:x\n---\n{? _target_ : |\n  a\n}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		one, err1 := yamltext.Scan(t.Context(), b, "_target_")
		two, err2 := yamltext.Scan(t.Context(), b, "_target_")
		if d := cmp.Diff(one, two); d != "" || (err1 == nil) != (err2 == nil) {
			t.Error("same bytes, other result", d)
		}
		for _, i := range one {
			if i.Start < 0 || i.Start > i.End || i.End > int64(len(b)) {
				t.Errorf("%+v in %d bytes", i, len(b))
			}
		}
	})
}
