package file

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format"
	"github.com/modelwarden/warden/internal/format/program"
	"github.com/modelwarden/warden/internal/text/secret"
	"github.com/modelwarden/warden/rules"
)

const (
	ruleProgram   warden.RuleID = "WDN-MF-102"
	ruleScript    warden.RuleID = "WDN-MF-104"
	ruleSecret    warden.RuleID = "WDN-MF-107" //nolint:gosec // the id of a rule about secrets
	ruleCollector warden.RuleID = "WDN-MF-108"
	ruleNumeric   warden.RuleID = "WDN-MF-109"
)

// searches finds secrets, addresses and programs whatever the format.
var searches = &detect.Detector[*format.File]{
	Name: "content/search",
	Doc: `Secrets, addresses and programs inside other content.

Texts are searched whole, and so are the metadata of models. Of other content
only the beginning and the end are searched, and of raw numbers only for a
program at their beginning, unless all weight bytes are asked for (--full): then
one pass reads every byte. Secrets are told by the rules of
gitleaks. A program counts only if its header makes sense, since its signature
alone is in any large file of numbers by chance. It cannot see what is encoded
twice, compressed or encrypted.`,
	Rules: []warden.Rule{
		{
			ID: ruleProgram, Title: "Native program inside other content", Severity: warden.High,
			Advice:     "Do not load the file until its publisher has said what the program is for. Ask for a file without it.",
			Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0018.002"},
		},
		{
			ID: ruleScript, Title: "Script inside binary content", Severity: warden.Medium,
			Advice:     "No loader of models runs it. Read the script, and ask the publisher why it is there.",
			Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0018.002"},
		},
		{
			ID: ruleSecret, Title: "Secret in the content", Severity: warden.Medium,
			Advice:     "Revoke the secret, and ask the publisher to remove it. Whoever has the file has had it.",
			Frameworks: []string{"owasp-llm@2025:LLM02", "mitre-atlas@5.6.0:AML.T0055"},
		},
		{
			ID: ruleCollector, Title: "Address that collects data or hands out pastes", Severity: warden.Medium,
			Advice:     "Find out what uses the address before the model runs where it can reach the network.",
			Frameworks: []string{"owasp-llm@2025:LLM02", "mitre-atlas@5.6.0:AML.T0024"},
		},
		{
			ID: ruleNumeric, Title: "Address by number instead of by name", Severity: warden.Low,
			Advice:     "Ask the publisher what answers there: names of services change hands less often than numbers.",
			Frameworks: []string{"owasp-llm@2025:LLM03"},
		},
	},
	Run: runSearches,
}

// secretRules are read when first wanted.
var secretRules = sync.OnceValues(func() (*secret.Rules, error) { return secret.Parse(rules.Secrets()) })

// A search is one run over one file.
type search struct {
	p        *detect.Pass[*format.File]
	secrets  *secret.Rules
	seen     map[seen]bool
	document bool // for people: an address in it is meant to be read
}

// seen is what was reported: a text found again, in a field and where the field
// lies, is one finding.
type seen struct {
	rule warden.RuleID
	what string
}

// How much is searched at once, and around that for context.
const (
	searchStep   = 256 << 10
	searchBefore = 1 << 10
	searchAfter  = secret.Reach
)

func runSearches(ctx context.Context, p *detect.Pass[*format.File]) error {
	f := p.Subject
	if f.Kind == "executable" || f.Kind == "link" || f.Kind == "empty" || f.Is("llamafile") {
		return nil
	}
	list, err := secretRules()
	if err != nil {
		return fmt.Errorf("rules of secrets: %w", err)
	}
	s := &search{p: p, secrets: list, seen: map[seen]bool{}, document: document(f)}
	if f.Kind == "text" {
		return s.stream(ctx, format.Range{Start: 0, End: f.Size}, true, false)
	}
	for t := range searchFields(f) {
		if err := s.text(ctx, []byte(t.value), t.at, 0, len(t.value), t.key); err != nil {
			return err
		}
		s.encoded([]byte(t.value), t.at, t.key)
	}
	numbers := f.Kind == "tensor" || f.Npy != nil && !f.Npy.Objects
	for _, r := range searchRanges(f) {
		if err := s.stream(ctx, r, f.Full() || !numbers, true); err != nil {
			return err
		}
	}
	return nil
}

// searchFields yields the descriptive fields of f, and the attributes of HDF5.
func searchFields(f *format.File) iter.Seq[field] {
	return func(yield func(field) bool) {
		for t := range metadataFields(f) {
			if !yield(t) {
				return
			}
		}
		if f.HDF5 == nil {
			return
		}
		for _, a := range f.HDF5.Attrs {
			if !yield(field{a.Name, a.Value, a.At}) {
				return
			}
		}
	}
}

// document reports whether f is a text for people.
func document(f *format.File) bool {
	name := strings.ToLower(f.Name)
	return slices.ContainsFunc([]string{".md", ".markdown", ".rst", ".txt", ".html", ".htm", ".tex", "license", "readme", "notice"}, func(end string) bool {
		return strings.HasSuffix(name, end)
	})
}

// searchRanges returns what of a file that is no text is searched: its edges, or
// everything if that is wanted. What members hold is searched with them.
func searchRanges(f *format.File) []format.Range {
	const edge, most = 64 << 10, 64
	rest := f.Rest()
	if f.Full() {
		return rest
	}
	var out []format.Range
	for _, r := range rest {
		size := r.End - r.Start
		switch {
		case size < 32:
		case f.Kind == "tensor": // raw numbers, of which a model has hundreds
			return append(out, format.Range{Start: r.Start, End: min(r.End, r.Start+program.Reach)})
		case size <= 2*edge:
			out = append(out, r)
		default:
			out = append(out, format.Range{Start: r.Start, End: r.Start + edge}, format.Range{Start: r.End - edge, End: r.End})
		}
		if len(out) >= most {
			break
		}
	}
	return out
}

// stream searches a part of the file, piece by piece, each with some bytes
// around it.
func (s *search) stream(ctx context.Context, r format.Range, texts, programs bool) error {
	f := s.p.Subject
	buf := make([]byte, min(r.End-r.Start, searchBefore+searchStep+searchAfter))
	for at := r.Start; at < r.End; at += searchStep {
		if err := ctx.Err(); err != nil {
			return err
		}
		from, to := max(r.Start, at-searchBefore), min(r.End, at+searchStep+searchAfter)
		b := buf[:to-from]
		if n, err := f.R.ReadAt(b, from); n < len(b) {
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("read at %d: %w", from+int64(n), err)
		}
		lo, hi := int(at-from), int(min(at+searchStep, r.End)-from)
		if programs {
			s.programs(b, from, lo, hi)
		}
		if !texts {
			continue
		}
		if programs { // not a text: what is no letter of one ends a word
			for i, c := range b {
				b[i] = lettered[c]
			}
		}
		if err := s.text(ctx, b, from, lo, hi, ""); err != nil {
			return err
		}
	}
	return nil
}

// lettered has the printable letters of ASCII as they are, and a line break for
// every other byte. A table is faster than a comparison of random bytes.
var lettered = func() (to [256]byte) {
	for c := range to {
		to[c] = '\n'
		if c >= ' ' && c < 0x7f {
			to[c] = byte(c)
		}
	}
	return to
}()

// emit reports one thing once.
func (s *search) emit(f warden.Finding, what string, start, end int64) {
	const told = 128
	k := seen{f.Rule, what[:min(len(what), told)]}
	if s.seen[k] {
		return
	}
	const most = 100_000
	if len(s.seen) < most {
		s.seen[k] = true
	}
	f.At = at(s.p.Subject, start, end)
	s.p.Emit(f)
}

// text searches b, which lies at a place of the file, for secrets and addresses
// that begin between lo and hi. The key is that of a field, or "".
func (s *search) text(ctx context.Context, b []byte, place int64, lo, hi int, key string) error {
	in := ""
	if key != "" {
		in = ", in the field " + key
	}
	hits, err := s.secrets.Find(ctx, s.p.Subject.Name, b, lo, hi)
	binary := s.p.Subject.Kind != "text" && key == ""
	for _, h := range hits {
		sev := warden.Medium
		if h.Generic {
			sev = warden.Low
		}
		if h.Generic && binary {
			continue // two words in passing
		}
		s.emit(warden.Finding{
			Rule: ruleSecret, Severity: sev, Evidence: h.Rule + ": " + secret.Redact(string(b[h.Start:h.End])),
			Message: "Whoever has the file can read a secret in it" + in + ".",
		}, string(b[h.Start:h.End]), place+int64(h.Start), place+int64(h.End))
	}
	for _, a := range addresses(b, lo, hi) {
		sev, message := warden.Low, "The content names a machine by its number"+in+"."
		if a.rule == ruleCollector {
			message = "The content names an address that takes in data or hands out pastes" + in + "."
			if !s.document {
				sev = warden.Medium
			}
		}
		s.emit(warden.Finding{Rule: a.rule, Severity: sev, Evidence: a.shown, Message: message}, a.shown, place+int64(a.start), place+int64(a.end))
	}
	return err
}

// programs searches b for programs that begin between lo and hi.
func (s *search) programs(b []byte, place int64, lo, hi int) {
	for _, h := range program.Find(b, lo, hi) {
		start := place + int64(h.At)
		if h.Kind == program.Script {
			line, _, _ := bytes.Cut(b[h.At:min(len(b), h.At+128)], []byte("\n"))
			s.emit(warden.Finding{Rule: ruleScript, Severity: warden.Medium, Evidence: string(line), Message: "A script lies in the content."}, fmt.Sprint(start), start, start+int64(len(line)))
			continue
		}
		if h.Broken {
			s.emit(warden.Finding{Rule: ruleProgram, Severity: warden.Medium, Evidence: h.Kind, Message: "The signature of a native program lies in the content, with a header that no system starts."}, fmt.Sprint(start), start, start+16)
			continue
		}
		s.emit(warden.Finding{
			Rule: ruleProgram, Severity: warden.High, Evidence: h.Kind,
			Message: "A native program lies in the content; another part of an attack can write it out and start it.",
		}, fmt.Sprint(start), start, start+64)
	}
}

// heads are how the signatures of programs begin in base64.
var heads = []string{"f0VMRg", "TVqQAA", "TVpBUl", "TVoAAA", "z/rt/g"}

// encoded looks for programs in base64.
func (s *search) encoded(b []byte, place int64, key string) {
	for _, head := range heads {
		for at := 0; at < len(b); at++ {
			i := bytes.Index(b[at:], []byte(head))
			if i < 0 {
				break
			}
			at += i
			end := at
			for end < len(b) && end-at < program.Reach && strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", b[end]) >= 0 {
				end++
			}
			raw, err := base64.RawStdEncoding.DecodeString(string(b[at : end-(end-at)%4]))
			if err == nil && program.At(raw) != "" {
				s.emit(warden.Finding{
					Rule: ruleProgram, Severity: warden.High, Evidence: program.At(raw) + " in base64",
					Message: "A native program lies in the content, in the field " + key + "; another part of an attack can write it out and start it.",
				}, fmt.Sprint(place+int64(at)), place+int64(at), place+int64(end))
			}
			at = end
		}
	}
}
