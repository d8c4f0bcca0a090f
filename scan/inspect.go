package scan

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/check/file"
	"github.com/modelwarden/warden/internal/format"
)

// What an [Inspection] keeps. What was left out is said where it was.
const (
	MembersPerFile      = 2000
	PartsPerMember      = 500
	OpcodesPerMember    = 1000
	BytesPerFinding     = 256
	FindingsWithBytes   = 50 // of one member
	bytesAroundAFinding = 32
)

// An Inspection is what is inside one file: for people to look at, never to
// decide from. A [Report] decides.
type Inspection struct {
	Members []Member
	Cut     bool            // there are more members than Members holds
	Unread  []detect.Status // members that could not be opened
}

// A Member is a file or one member of a container at any depth.
type Member struct {
	Path    string // as in findings: "outer.zip!/inner.pkl"
	Depth   int    // containers around it
	Format  string // "" if unknown
	Also    []string
	Size    int64
	Verdict warden.Verdict // of this member with all that it contains

	Parts      []Part // tensors, operators, what a pickle does
	PartsTotal int
	Opcodes    []Opcode // of pickle streams
	OpcodesAll bool     // Opcodes is all of them
	Findings   []Excerpt
	Statuses   []detect.Status
}

// A Part is a tensor, an operator, an import, a metadata entry.
type Part = format.Part

// An Opcode is one instruction of a pickle stream.
type Opcode struct {
	Start, End int64
	Name, Arg  string
}

// An Excerpt is a finding with the bytes that it is about.
type Excerpt struct {
	warden.Finding
	Offset int64  // of Bytes in the member; -1 if there are none
	Bytes  []byte // never of a finding about a secret
}

// Inspect looks into the size bytes of r, as [File] does, and keeps what a person
// wants to see: the tree of members with a verdict each, tensors, operators,
// opcodes, and the bytes that findings are about. The order is that of the
// file. Bytes of members in which secrets were found are left out.
func Inspect(ctx context.Context, name string, r io.ReaderAt, size int64, opts Options) (Inspection, error) {
	opts = opts.withDefaults()
	ctx, cancel := context.WithTimeout(ctx, opts.Timeout)
	defer cancel()
	var in Inspection
	f, err := format.Open(ctx, base(name), r, size, opts.Limits)
	if err != nil {
		return in, fmt.Errorf("inspect %s: %w", base(name), err)
	}
	in.member(ctx, f, 0)
	return in, nil
}

// member adds f and what it contains and returns the verdict of all that.
func (in *Inspection) member(ctx context.Context, f *format.File, depth int) warden.Verdict {
	if len(in.Members) >= MembersPerFile {
		in.Cut = true
		return warden.Inconclusive
	}
	m := Member{Path: f.Path, Depth: depth, Format: f.Format, Also: f.Also, Size: f.Size, OpcodesAll: true}
	res := detect.Run(ctx, warden.Ref{Kind: warden.KindArtifact}, f, detect.Limits{Findings: FindingsPerTarget}, file.All()...)
	m.Statuses = append(m.Statuses, f.Unread...)
	m.Verdict = res.Verdict()
	if len(m.Statuses) > 0 {
		m.Verdict = max(m.Verdict, warden.Inconclusive)
	}
	for _, s := range res.Statuses {
		if s.State == detect.Failed || s.State == detect.Skipped {
			m.Statuses = append(m.Statuses, s)
		}
	}
	slices.SortStableFunc(res.Findings, func(a, b warden.Finding) int { return cmp.Compare(b.Severity, a.Severity) })
	secret := slices.ContainsFunc(res.Findings, isSecret)
	if !secret {
		m.Parts, m.PartsTotal = f.Outline(PartsPerMember)
		list, all := f.Instructions(ctx, OpcodesPerMember)
		m.OpcodesAll = all
		for _, i := range list {
			m.Opcodes = append(m.Opcodes, Opcode(i))
		}
	}
	for i, x := range res.Findings {
		e := Excerpt{Finding: x, Offset: -1}
		if i < FindingsWithBytes && !secret {
			e.Offset, e.Bytes = excerpt(f, x.At)
		}
		m.Findings = append(m.Findings, e)
	}
	at, verdict := len(in.Members), m.Verdict
	in.Members = append(in.Members, m)
	for sub, err := range f.Members(ctx) {
		if in.Cut {
			break
		}
		if err != nil {
			verdict = max(verdict, warden.Inconclusive)
			in.Unread = append(in.Unread, detect.Status{Detector: "read/members", State: detect.StateOf(err), Err: fmt.Errorf("%s: %w", f.Path, err)})
			continue
		}
		verdict = max(verdict, in.member(ctx, sub, depth+1))
	}
	in.Members[at].Verdict = verdict
	return verdict
}

// noBytes is the rule about credentials.
const noBytes warden.RuleID = "WDN-MF-107"

// isSecret reports whether a finding is about a secret, whose bytes are shown
// to nobody.
func isSecret(f warden.Finding) bool { return f.Rule == noBytes }

// excerpt reads the bytes of a place and some around them. A place in a stream
// that was unpacked from the member has no bytes of its own.
func excerpt(f *format.File, at warden.Location) (int64, []byte) {
	if at.Path != f.Path || at.Span.Unit != warden.Bytes || at.Span.Start < 0 || at.Span.Start >= f.Size {
		return -1, nil
	}
	start := max(0, at.Span.Start-bytesAroundAFinding)
	end := min(f.Size, max(at.Span.End, at.Span.Start)+bytesAroundAFinding, start+BytesPerFinding)
	b := make([]byte, end-start)
	n, err := f.R.ReadAt(b, start)
	if n == 0 && err != nil {
		return -1, nil
	}
	return start, b[:n]
}
