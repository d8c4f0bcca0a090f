package format

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format/jinja"
	"github.com/modelwarden/warden/internal/format/jsontext"
)

// tryText reports whether all of f is text. A text file is no container and no
// pickle, or it would have been recognised before. Templates and configurations
// in it are parsed.
func (f *File) tryText(ctx context.Context, w window) bool {
	if f.Size > f.limits().Text || !printable(w.head) {
		return false
	}
	b, err := f.content(f.limits().Text)
	if err != nil || !plain(b) || ctx.Err() != nil {
		return false
	}
	f.Kind = "text"
	if f.script(ctx, b) {
		return true
	}
	if f.In == llamafile && f.Name == ".args" {
		f.text(f.Name, string(b), 0)
	}
	if f.In == "torch-package" && f.Name == KeyExtern {
		f.extern(b)
	}
	f.manifest(b)
	f.graphText(ctx, b)
	for _, u := range unexamined {
		if slices.Contains(u.exts, f.ext()) && bytes.Contains(b, []byte(u.has)) {
			f.unread("read/text", fmt.Errorf("%s: %w", u.what, detect.ErrLimit))
			break
		}
	}
	if ext := f.ext(); ext == ".yaml" || ext == ".yml" {
		f.yaml(ctx, b)
		f.configLines(b)
	}
	trimmed := bytes.TrimLeft(bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")), " \t\r\n")
	if len(trimmed) > 0 && (trimmed[0] == '{' || trimmed[0] == '[') && f.json(ctx, b) {
		return true
	}
	f.xml(ctx, trimmed)
	strict := slices.Contains([]string{".jinja", ".jinja2", ".j2", ".template"}, f.ext())
	if strict || jinja.Has(b) && slices.Contains(mayHoldTemplates, f.ext()) {
		f.template(ctx, "", string(b), 0, strict)
		if strict {
			f.claim("jinja")
		}
	}
	return true
}

// unexamined are texts that some loader acts on and that are not examined yet,
// by extension and a mark in the text. They are never clean.
var unexamined = []struct {
	exts      []string
	has, what string
}{
	{[]string{".pkl", ".pickle", ".dill", ".joblib", ".pt", ".pth", ".ckpt", ".npy", ".npz"}, "", "named like a pickle, and no loader would read it as one"},
	{[]string{".sh", ".bash", ".ps1", ".bat", ".cmd"}, "", "scripts are not examined yet"},
}

// mayHoldTemplates are the extensions of texts that a model loader may render.
// Braces in source code and documents mean other things.
var mayHoldTemplates = []string{"", ".txt", ".yaml", ".yml", ".json", ".jsonl", ".toml", ".cfg", ".ini", ".prompt", ".tmpl", ".tpl", ".modelfile", ".conf"}

// template parses one template. One that is not strict may be other text with
// braces in it: damage then means that no engine would take it.
func (f *File) template(ctx context.Context, key, text string, at int64, strict bool) {
	tree, err := jinja.Parse(ctx, text, f.limits())
	if err != nil && (strict || errors.Is(err, detect.ErrLimit)) {
		if key != "" {
			err = fmt.Errorf("%s: %w", key, err)
		}
		f.unread("read/template", err)
	}
	if len(tree.Nodes) > 0 {
		f.Templates = append(f.Templates, Template{key, at, tree})
	}
}

// maxTemplates bounds the texts of one file that are parsed as templates.
const maxTemplates = 10_000

func templateKey(key string) bool { return strings.Contains(key, "template") }

// json examines a JSON text. It reports false if the text is not JSON.
func (f *File) json(ctx context.Context, b []byte) bool {
	doc, err := jsontext.Parse(ctx, b, f.limits())
	if err != nil {
		limit := errors.Is(err, detect.ErrLimit) || ctx.Err() != nil
		if limit || f.In == "keras-zip" || f.ext() == ".json" && (bytes.Contains(b, []byte("template\"")) || bytes.Contains(b, []byte("auto_map"))) {
			f.unread("read/json", err)
		}
		return limit
	}
	f.jsonTemplates(ctx, doc)
	f.references(ctx, doc)
	f.stores(doc)
	f.configTexts(doc)
	f.jsonNames(ctx, doc)
	if root := doc.Root(); root.Get("learner").Ok() && root.Get("version").Ok() {
		f.claim("xgboost")
	}
	if root := doc.Root(); root.Get("class_name").Ok() && root.Get("config").Ok() {
		f.claim("keras-config")
		f.Keras = append(f.Keras, Config{Source: f.Name, Doc: doc})
	}
	return true
}

// jsonTemplates parses the templates of a tokenizer configuration: texts below a
// key with "template" in its name, and any other text that would render.
func (f *File) jsonTemplates(ctx context.Context, doc *jsontext.Doc) {
	count := 0
	doc.Root().Each(func(v jsontext.Value) bool {
		if v.Kind() != jsontext.String {
			return true
		}
		start, _ := v.Span()
		if key := v.Key(); templateKey(key) {
			f.claim("tokenizer")
			f.template(ctx, key, v.Text(), start+1, true)
		} else if raw := v.Raw(); strings.Contains(raw, "{") && jinja.Has([]byte(v.Text())) {
			f.template(ctx, key, v.Text(), start+1, false)
		} else {
			return true
		}
		if count++; count > maxTemplates {
			f.unread("read/template", fmt.Errorf("more than %d templates: %w", maxTemplates, detect.ErrLimit))
		}
		return count <= maxTemplates
	})
}

// config parses a Keras configuration.
func (f *File) config(ctx context.Context, source string, b []byte, at int64, legacy bool) {
	doc, err := jsontext.Parse(ctx, b, f.limits())
	if err != nil {
		f.unread("read/keras", fmt.Errorf("%s: %w", source, err))
		return
	}
	f.Keras = append(f.Keras, Config{source, at, legacy, doc})
}
