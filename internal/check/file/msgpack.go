package file

import (
	"context"
	"fmt"
	"strings"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format"
	"github.com/modelwarden/warden/internal/format/msgpack"
)

// msgpackValues finds values that a loader turns into more than numbers.
var msgpackValues = &detect.Detector[*format.File]{
	Name: "msgpack/values",
	Doc: `Values of an application's own types in MessagePack.

Flax writes arrays, complex numbers and scalars as extension types 1 to 3. A
loader restores other types by code of its own, and an array of objects is not
an array of numbers. What such a loader does is not in the file.`,
	Rules: []warden.Rule{
		{
			ID: "WDN-MF-078", Title: "MessagePack holds values that are not data", Severity: warden.Medium,
			Advice:     "Find out which loader restores these values, and what it does with them.",
			Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0011.000"},
		},
	},
	Run: runMsgPack,
}

func runMsgPack(ctx context.Context, p *detect.Pass[*format.File]) error {
	if p.Subject.MsgPack == nil {
		return nil
	}
	for i, e := range p.Subject.MsgPack.Extensions {
		if i%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		where := at(p.Subject, e.Start, e.End)
		const timestamp = -1
		switch {
		case e.Type == timestamp, e.Type == msgpack.Complex:
		case e.Type != msgpack.Array && e.Type != msgpack.Scalar:
			p.Emit(warden.Finding{
				Rule: "WDN-MF-078", Severity: warden.Medium, At: where, Evidence: fmt.Sprintf("extension type %d", e.Type),
				Message: "A loader restores a value of a type that Flax does not write.",
			})
		case e.DType == "?", strings.HasPrefix(e.DType, "O"), strings.HasPrefix(e.DType, "object"), strings.HasPrefix(e.DType, "V"), strings.HasPrefix(e.DType, "|O"):
			p.Emit(warden.Finding{
				Rule: "WDN-MF-078", Severity: warden.Medium, At: where, Evidence: "array of " + e.DType,
				Message: "A loader restores an array whose elements are not numbers.",
			})
		}
	}
	return nil
}
