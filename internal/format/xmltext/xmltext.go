// Package xmltext reads the outline of XML models, such as PMML and OpenVINO:
// the root, declared entities, and the attributes that name files or code. It
// resolves no entity and opens nothing.
//
// Source: XML 1.0, fifth edition, section 4.2.
package xmltext

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format/bound"
)

// A Mark is a place that may reach outside the document, or what it says there.
type Mark struct {
	Element, Key, Value string
	Start, End          int64
}

// A Doc is the outline of a document.
type Doc struct {
	Root     string
	Entities []Mark // declarations in the document type: Key is "SYSTEM" or "PUBLIC" for outer ones
	Marks    []Mark // attributes of the wanted names, and texts of the wanted elements
	Layers   []Mark // OpenVINO: type and opset of each distinct kind of layer
}

// wanted are attributes whose value names a file, a library or an address.
var wanted = map[string]bool{"library": true, "href": true, "src": true, "schemaLocation": true, "extension": true}

var entity = regexp.MustCompile(`(?i)<!ENTITY\s+(%\s+)?\S+\s+(SYSTEM|PUBLIC)?`)

const (
	maxMarks = 10_000
	maxValue = 1024
)

// Open reads all of src. An error says where it is not XML, or wraps
// [detect.ErrLimit]; what was read before is valid.
func Open(ctx context.Context, src []byte, lim bound.Limits) (*Doc, error) {
	doc, depth := &Doc{}, 0
	d := xml.NewDecoder(bytes.NewReader(src))
	d.CharsetReader = func(label string, in io.Reader) (io.Reader, error) {
		if l := strings.ToLower(label); l == "us-ascii" || l == "iso-8859-1" || l == "windows-1252" {
			return in, nil // only the shape matters, and it is the same
		}
		return nil, fmt.Errorf("character set %q is not read: %w", label, detect.ErrLimit)
	}
	layers, elements := map[string]bool{}, []string(nil)
	for steps := 0; ; steps++ {
		if steps&1023 == 0 && ctx.Err() != nil {
			return doc, ctx.Err()
		}
		start := d.InputOffset()
		t, err := d.RawToken()
		if errors.Is(err, io.EOF) && depth == 0 && doc.Root != "" {
			return doc, nil
		}
		if err != nil {
			return doc, fmt.Errorf("XML, byte %d: %w", start, err)
		}
		if len(doc.Marks)+len(doc.Entities)+len(doc.Layers) > maxMarks {
			return doc, fmt.Errorf("XML, byte %d: more than %d names: %w", start, maxMarks, detect.ErrLimit)
		}
		switch t := t.(type) {
		case xml.Directive:
			for _, m := range entity.FindAllSubmatch(append([]byte("<!"), t...), maxMarks) {
				doc.Entities = append(doc.Entities, Mark{"", strings.ToUpper(string(m[2])), cut(string(m[0])), start, d.InputOffset()})
			}
		case xml.StartElement:
			if depth++; depth > lim.Nesting {
				return doc, fmt.Errorf("XML, byte %d: nested more than %d deep: %w", start, lim.Nesting, detect.ErrLimit)
			}
			if doc.Root == "" {
				doc.Root = t.Name.Local
			}
			elements = append(elements, t.Name.Local)
			doc.element(t, layers, start, d.InputOffset())
		case xml.EndElement:
			if depth == 0 || elements[depth-1] != t.Name.Local {
				return doc, fmt.Errorf("XML, byte %d: </%s> closes nothing", start, cut(t.Name.Local))
			}
			depth--
			elements = elements[:depth]
		case xml.CharData:
			if depth > 0 && strings.EqualFold(elements[depth-1], "extension") {
				if s := strings.TrimSpace(string(t[:min(len(t), 64<<10)])); s != "" {
					doc.Marks = append(doc.Marks, Mark{elements[depth-1], "", s, start, d.InputOffset()})
				}
			}
		}
	}
}

func (doc *Doc) element(t xml.StartElement, layers map[string]bool, start, end int64) {
	kind, set := "", ""
	for _, a := range t.Attr {
		switch {
		case wanted[a.Name.Local] && !strings.HasPrefix(a.Value, "http://www."):
			doc.Marks = append(doc.Marks, Mark{t.Name.Local, a.Name.Local, cut(a.Value), start, end})
		case strings.EqualFold(t.Name.Local, "extension") && a.Name.Local == "value":
			doc.Marks = append(doc.Marks, Mark{t.Name.Local, a.Name.Local, a.Value[:min(len(a.Value), 64<<10)], start, end})
		case a.Name.Local == "type":
			kind = cut(a.Value)
		case a.Name.Local == "version":
			set = cut(a.Value)
		}
	}
	if doc.Root == "net" && t.Name.Local == "layer" && !layers[kind+" "+set] {
		layers[kind+" "+set] = true
		doc.Layers = append(doc.Layers, Mark{set, "type", kind, start, end})
	}
}

func cut(s string) string { return s[:min(len(s), maxValue)] }
