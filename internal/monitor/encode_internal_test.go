package monitor

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"github.com/modelwarden/warden"
)

// anyRecord fills every field that Record has, those to come too, or leaves it.
func anyRecord(t *rapid.T) Record {
	var r Record
	v := reflect.ValueOf(&r).Elem()
	for i := range v.NumField() {
		f, name := v.Field(i), v.Type().Field(i).Name
		if rapid.Bool().Draw(t, name+" empty") {
			continue
		}
		switch f.Interface().(type) {
		case time.Time:
			f.Set(reflect.ValueOf(time.Unix(rapid.Int64Range(0, 1<<33).Draw(t, name), rapid.Int64Range(0, 1e9-1).Draw(t, "nanoseconds")).UTC()))
		case []string:
			f.Set(reflect.ValueOf(rapid.SliceOf(rapid.String()).Draw(t, name)))
		case map[string]int:
			f.Set(reflect.ValueOf(rapid.MapOf(rapid.String(), rapid.Int()).Draw(t, name)))
		case []Place:
			f.Set(reflect.ValueOf(rapid.SliceOf(rapid.Custom(func(t *rapid.T) Place {
				return Place{Rule: "WDN-EX-501", At: rapid.String().Draw(t, "at"), Start: rapid.Int64().Draw(t, "start"), End: rapid.Int64().Draw(t, "end"), Did: warden.Redact}
			})).Draw(t, name)))
		default:
			switch f.Kind() {
			case reflect.String:
				f.SetString(rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-z<>&"\\\x00-\x7f]*`), rapid.Just("\xff\u2028x")).Draw(t, name))
			case reflect.Int, reflect.Int64:
				f.SetInt(rapid.Int64().Draw(t, name))
			case reflect.Bool:
				f.SetBool(true)
			default:
				t.Fatalf("%s: %s", name, f.Type())
			}
		}
	}
	return r
}

// TestSameBytes: a record's bytes are those of encoding/json, and the root is
// that of the tree over them.
func TestSameBytes(t *testing.T) {
	t.Parallel()
	var p packing
	rapid.Check(t, func(t *rapid.T) {
		records := rapid.SliceOfN(rapid.Custom(anyRecord), 1, 20).Draw(t, "records")
		var want bytes.Buffer
		enc := json.NewEncoder(&want)
		enc.SetEscapeHTML(false)
		for _, r := range records {
			if err := enc.Encode(r); err != nil {
				t.Fatal(err)
			}
		}
		root, err := p.fill(records)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(p.lines, want.Bytes()) {
			t.Fatalf("have %s\nwant %s", p.lines, want.Bytes())
		}
		leaves := bytes.Split(bytes.TrimSuffix(want.Bytes(), []byte("\n")), []byte("\n"))
		tree, err := treeOf(leaves)
		if err != nil {
			t.Fatal(err)
		}
		if h, err := tlog.TreeHash(int64(len(leaves)), tree); err != nil || h != root {
			t.Fatalf("root %v, want %v (%v)", root, h, err)
		}
	})
}
