package registry

import (
	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/report"
	"github.com/modelwarden/warden/scan"
)

// pathBytes bounds a path of a member, which nests as deep as members do.
const pathBytes = 4096

// StructureOf renders what is inside one file, for reports and answers.
func StructureOf(path string, in scan.Inspection) report.Structure {
	rules := scan.Rules()
	out := report.Structure{
		Schema: report.StructureSchema, Path: detect.Printable(path, pathBytes), Members: make([]report.Member, 0, len(in.Members)),
		Cut: in.Cut, Unread: report.NewStatuses(in.Unread),
	}
	for _, m := range in.Members {
		x := report.Member{
			Path: detect.Printable(m.Path, pathBytes), Depth: m.Depth, Format: m.Format, Also: append([]string{}, m.Also...), Size: m.Size, Verdict: m.Verdict.String(),
			Parts: make([]report.Part, 0, len(m.Parts)), PartsTotal: m.PartsTotal, Opcodes: make([]report.Opcode, 0, len(m.Opcodes)), OpcodesAll: m.OpcodesAll,
			Findings: make([]report.Excerpt, 0, len(m.Findings)), Statuses: report.NewStatuses(m.Statuses),
		}
		for _, p := range m.Parts {
			x.Parts = append(x.Parts, report.Part(p))
		}
		for _, o := range m.Opcodes {
			x.Opcodes = append(x.Opcodes, report.Opcode(o))
		}
		for _, f := range m.Findings {
			x.Findings = append(x.Findings, report.NewExcerpt(f.Finding, rules[f.Rule], f.Offset, f.Bytes))
		}
		out.Members = append(out.Members, x)
	}
	return out
}
