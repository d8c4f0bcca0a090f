package file

import (
	"context"
	"errors"
	"path"
	"strings"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format"
	"github.com/modelwarden/warden/internal/format/expand"
	"github.com/modelwarden/warden/internal/format/tarfile"
	"github.com/modelwarden/warden/internal/format/zipfile"
)

// containers finds archives that two loaders read differently, that write
// outside their folder when unpacked, or that exhaust whoever opens them.
var containers = &detect.Detector[*format.File]{
	Name: "container/structure",
	Doc: `Tricks in archives.

Python reads a zip archive by the directory at its end and refuses members with
odd flags or a wrong checksum; torch is more lenient, and other tools read the
body from the front. A member that only one of them sees passes a scanner and
is loaded nevertheless. References: GHSA-w8jq-xcqf-f792, GHSA-7q5r-7gvp-wc82,
CVE-2025-10156.`,
	Rules: []warden.Rule{
		{
			ID: "WDN-MF-090", Title: "Two loaders see different members or bytes", Severity: warden.High,
			Advice:     "Do not load the file. Ask the publisher for an archive written by an ordinary tool.",
			Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0107", "owasp-ml@2023:ML06"},
		},
		{
			ID: "WDN-MF-091", Title: "Member name leads outside the folder it is unpacked to", Severity: warden.High,
			Advice:     "Do not unpack the archive with a tool that follows the names in it.",
			Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0010"},
		},
		{
			ID: "WDN-MF-092", Title: "Link or device as a member", Severity: warden.High,
			Advice:     "Do not unpack the archive. A model needs neither links nor devices.",
			Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0010"},
		},
		{
			ID: "WDN-MF-093", Title: "Flag on a plain member makes scanners refuse what torch loads", Severity: warden.High,
			Advice:     "Do not load the file: no honest writer sets these flags on a member that is not encrypted.",
			Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0107"},
		},
		{
			ID: "WDN-MF-094", Title: "Compressed data expands without bound", Severity: warden.Medium,
			Advice:     "Do not open the file on a machine with other work. Ask the publisher for the uncompressed file.",
			Frameworks: []string{"mitre-atlas@5.6.0:AML.T0029", "owasp-llm@2025:LLM10"},
		},
		{
			ID: "WDN-MF-095", Title: "Bytes follow the end of the archive", Severity: warden.Low,
			Advice:     "Compare the file with the one at its publisher.",
			Frameworks: []string{"owasp-llm@2025:LLM03"},
		},
		{
			ID: "WDN-MF-096", Title: "Checksum of a member does not match its bytes", Severity: warden.High,
			Advice:     "Fetch the file again. If the checksum is wrong at the publisher too, do not load it.",
			Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0107"},
		},
	},
	Run: runContainers,
}

func runContainers(ctx context.Context, p *detect.Pass[*format.File]) error {
	f := p.Subject
	for _, s := range f.Unread {
		if errors.Is(s.Err, expand.ErrBomb) {
			p.Report("WDN-MF-094", whole(f), "Opening it expands a little compressed data to more than a loader can hold.")
			break
		}
	}
	if f.BadCheck {
		severity := warden.High
		if strings.HasPrefix(f.In, "torch") {
			severity = warden.Medium // torch.serialization.set_crc32_options(False) writes such files
		}
		p.Emit(warden.Finding{
			Rule: "WDN-MF-096", Severity: severity, At: whole(f),
			Message: "Python refuses this member for its wrong checksum; torch loads it without a look.",
		})
	}
	if f.Zip != nil {
		if err := zipTricks(ctx, p, f.Zip); err != nil {
			return err
		}
	}
	if f.Seven != nil {
		if n := f.Seven.Trailing; n > 0 {
			p.Report("WDN-MF-095", at(f, f.Size-n, f.Size), "%d bytes follow the end of the archive; no loader of archives reads them.", n)
		}
		for i, e := range f.Seven.Entries {
			if i%4096 == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			outside(p, whole(f), e.Name)
			if e.Link {
				p.Emit(warden.Finding{Rule: "WDN-MF-092", Severity: warden.Medium, At: whole(f), Message: "Unpacking creates a symbolic link.", Evidence: e.Name})
			}
		}
	}
	if f.Tar != nil {
		return tarTricks(ctx, p, f.Tar)
	}
	return nil
}

func zipTricks(ctx context.Context, p *detect.Pass[*format.File], a *zipfile.Archive) error {
	f := p.Subject
	for _, d := range a.Differences {
		p.Emit(warden.Finding{
			Rule: "WDN-MF-090", Severity: warden.High, At: at(f, d.Offset, d.Offset+4),
			Message: "Two loaders read different things: " + d.What + ".", Evidence: d.Name,
		})
	}
	for i, e := range a.Entries {
		if i%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		where := at(f, e.Header, e.Data)
		if bad := e.Flags & (zipfile.FlagEncrypted | zipfile.FlagPatched | zipfile.FlagStrong); bad != 0 && e.Method == zipfile.Stored && e.Packed == e.Size && e.Size > 0 {
			p.Emit(warden.Finding{
				Rule: "WDN-MF-093", Severity: warden.High, At: where, Evidence: e.Name,
				Message: "Python and most scanners refuse this member for its flags; torch ignores them and loads it.",
			})
		}
		outside(p, where, e.Name)
		if e.Link() {
			p.Emit(warden.Finding{Rule: "WDN-MF-092", Severity: warden.Medium, At: where, Message: "Unpacking creates a symbolic link.", Evidence: e.Name})
		}
	}
	if a.Trailing > 0 {
		p.Report("WDN-MF-095", at(f, f.Size-a.Trailing, f.Size), "%d bytes follow the end of the archive; no loader of archives reads them.", a.Trailing)
	}
	return nil
}

func tarTricks(ctx context.Context, p *detect.Pass[*format.File], a *tarfile.Archive) error {
	f := p.Subject
	through, err := behindLinks(ctx, a)
	if err != nil {
		return err
	}
	for _, d := range a.Differences {
		p.Report("WDN-MF-090", whole(f), "Two readers see different things: %s.", d)
	}
	for i, e := range a.Entries {
		if i%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		where := at(f, e.Header, e.Data)
		outside(p, where, e.Name)
		switch e.Type {
		case tarfile.SymLink, tarfile.HardLink:
			target, severity := e.Link, warden.Low
			if e.Type == tarfile.SymLink {
				target = path.Join(path.Dir(e.Name), e.Link)
			}
			if path.IsAbs(e.Link) || escapes(target) {
				severity = warden.Medium // as in images of file systems
			}
			if severity == warden.Medium && through[path.Clean(e.Name)] {
				severity = warden.High
			}
			p.Emit(warden.Finding{
				Rule: "WDN-MF-092", Severity: severity, At: where, Evidence: e.Name + " -> " + e.Link,
				Message: "Unpacking creates a link; what is written through it lands at its target.",
			})
		case tarfile.CharDev, tarfile.BlockDev, tarfile.FIFO:
			p.Emit(warden.Finding{Rule: "WDN-MF-092", Severity: warden.High, At: where, Message: "Unpacking creates a device or a pipe.", Evidence: e.Name})
		}
	}
	return nil
}

// behindLinks returns the links that the name of another member leads through,
// or that a member of the same name is written to.
func behindLinks(ctx context.Context, a *tarfile.Archive) (map[string]bool, error) {
	links, used := map[string]bool{}, map[string]bool{}
	for i, e := range a.Entries {
		if i%512 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		name := path.Clean(e.Name)
		for at, level := 0, 0; at < len(name) && level < maxLevels && len(links) > 0; level++ {
			end := strings.IndexByte(name[at:], '/')
			if end < 0 {
				end = len(name) - at
			}
			if dir := name[:at+end]; links[dir] {
				used[dir] = true
			}
			at += end + 1
		}
		if e.Type == tarfile.SymLink || e.Type == tarfile.HardLink {
			links[name] = true
		}
	}
	return used, nil
}

// maxLevels is how many folders of a name are compared with the links.
const maxLevels = 64

// outside reports a member whose name leads out of the folder.
func outside(p *detect.Pass[*format.File], where warden.Location, name string) {
	slashed := strings.ReplaceAll(name, `\`, "/")
	drive := len(slashed) > 1 && slashed[1] == ':'
	if path.IsAbs(slashed) || drive || escapes(slashed) {
		p.Emit(warden.Finding{
			Rule: "WDN-MF-091", Severity: warden.High, At: where, Evidence: name,
			Message: "Unpacking by the names in the archive writes a file outside the target folder.",
		})
	}
}

// escapes reports whether a relative path leaves its folder.
func escapes(name string) bool {
	clean := path.Clean(name)
	return clean == ".." || strings.HasPrefix(clean, "../")
}

// at is a byte range of f.
func at(f *format.File, start, end int64) warden.Location {
	return warden.Location{Path: f.Path, Span: warden.Span{Unit: warden.Bytes, Start: start, End: max(start, end)}}
}

// whole is all of f.
func whole(f *format.File) warden.Location { return at(f, 0, f.Size) }
