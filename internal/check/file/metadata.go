package file

import (
	"context"
	"iter"
	"sync"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format"
	"github.com/modelwarden/warden/rules"
)

// metadata looks for commands and code in descriptive fields. Its
// rules are data (rules/modelfile/text.yaml), read when first wanted.
var metadata = sync.OnceValue(func() *detect.Detector[*format.File] {
	list, err := rules.MetadataRules()
	d := &detect.Detector[*format.File]{
		Name: "metadata/text",
		Doc: `Text in the metadata of GGUF, safetensors and ONNX files and of tree models.

No loader runs these fields, but people and agents read them, paste them and
follow them. Only the head of long fields is read. It cannot see text that is
encoded or written in another alphabet.`,
		Run: func(ctx context.Context, p *detect.Pass[*format.File]) error {
			if err != nil {
				return err // the rules cannot be read: nothing was looked for
			}
			return runMetadata(ctx, p, list)
		},
	}
	for _, r := range list {
		d.Rules = append(d.Rules, r.Rule)
	}
	return d
})

func runMetadata(ctx context.Context, p *detect.Pass[*format.File], list []rules.TextRule) error {
	for f := range metadataFields(p.Subject) {
		if err := ctx.Err(); err != nil {
			return err
		}
		for _, r := range list {
			m := r.Match(f.value)
			if m == nil {
				continue
			}
			p.Emit(warden.Finding{
				Rule: r.ID, Severity: r.Severity, At: at(p.Subject, f.at+int64(m[0]), f.at+int64(m[1])),
				Message: r.Title + ", in the field " + f.key + ".", Evidence: f.key + ": " + f.value[m[0]:m[1]],
			})
		}
	}
	return nil
}

type field struct {
	key, value string
	at         int64
}

// metadataFields yields the descriptive fields of f. Templates have a check of
// their own.
func metadataFields(f *format.File) iter.Seq[field] {
	return func(yield func(field) bool) {
		if f.GGUF != nil {
			for _, t := range f.GGUF.Texts {
				if !yield(field{t.Key, t.Value, t.At}) {
					return
				}
			}
		}
		if f.Safetensors != nil {
			for _, m := range f.Safetensors.Metadata {
				if !yield(field{m.Key, m.Value, m.At}) {
					return
				}
			}
		}
		for _, t := range f.Texts {
			if !yield(field{t.Key, t.Value, t.At}) {
				return
			}
		}
		if f.ONNX != nil {
			for _, m := range f.ONNX.Metadata {
				if !yield(field{m.Key, m.Value, m.Start}) {
					return
				}
			}
		}
	}
}
