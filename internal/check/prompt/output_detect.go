package prompt

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/chat"
	"github.com/modelwarden/warden/internal/text/stream"
)

// A family is the rules of one detector, and the recognisers that it needs.
type family struct {
	name, prefix, doc string
	answers           bool // it looks at what the model said in this exchange only
	slots             []int
}

var families = []family{
	{
		"output/prompt", "WDN-EX-4", `The operator's text in an answer.

Twelve words in a row are a leak, in any case and punctuation, letter by letter,
reversed, in ROT13, base64 and hexadecimal; so is much of the text in pieces. It
cannot see translations and paraphrases.`,
		true, nil,
	},
	{
		"personal/text", "WDN-EX-5", `Personal data in what is said to a model or by it.

Numbers with check digits and addresses are told by their form, others only beside
a word that says what they are. It cannot see names of people and streets.`,
		false,
		[]int{slotEmail, slotRun, slotMRZ},
	},
	{
		"secret/text", "WDN-EX-6", `Keys, tokens and passwords in what is said to a model or by it.

It uses the rules that the scan of files uses, and knows private keys, signed
tokens, addresses with passwords and headers. It cannot see secrets that are only
words.`,
		false,
		[]int{slotSecret, slotPEM, slotJWT, slotLongJWT, slotBare},
	},
	{
		"output/link", "WDN-EX-7", `Addresses in an answer that a reader's program follows.

Markdown, HTML, style sheets, Slack's markup and bare addresses: images and frames
of other hosts, programs, credentials, hosts that are not what they seem, and data
of the conversation in an address. It looks nothing up, so a host that sends its
readers on is not seen.`,
		true,
		[]int{slotBare, slotImage, slotTag, slotTarget, slotDefined, slotStyle},
	},
	{
		"output/unsafe", "WDN-EX-8", `What is dangerous where an answer goes unread: to a shell, a database, a browser,
a terminal, a spreadsheet or another model.

Only shapes that destroy or that run what is fetched are known. In a text for
people they weigh little, in the argument of a tool much.`,
		true,
		[]int{slotTag, slotTerminal},
	},
}

// Output returns the detectors of what models say. They use the recognisers of
// streams over whole texts.
func Output() []*detect.Detector[*chat.Exchange] { return slices.Clone(outputDetectors()) }

var outputDetectors = sync.OnceValue(func() []*detect.Detector[*chat.Exchange] {
	s, err := shared()
	var out []*detect.Detector[*chat.Exchange]
	for _, f := range families {
		d := &detect.Detector[*chat.Exchange]{
			Name: f.name, Doc: f.doc,
			Run: func(ctx context.Context, p *detect.Pass[*chat.Exchange]) error {
				if err != nil {
					return err // the rules cannot be read: nothing was looked for
				}
				return f.run(ctx, p)
			},
		}
		if err == nil {
			for _, r := range s.rules {
				if strings.HasPrefix(string(r.ID), f.prefix) && r.ID != canaryRule {
					d.Rules = append(d.Rules, r.Rule)
				}
			}
		}
		out = append(out, d)
	}
	return out
})

// canaryRule is of streams only: an exchange does not say what its canary is.
const canaryRule = "WDN-EX-420"

// Canary describes the look for canaries, which only streams do.
func Canary() detect.Info {
	info := detect.Info{Name: "output/canary", Doc: `The canary of the operator's text in an answer.

A word that stands nowhere else is put into the operator's text for one exchange.
Copies are found also in pieces, reversed, in ROT13, base64 and hexadecimal.`}
	if s, err := shared(); err == nil {
		for _, r := range s.rules {
			if r.ID == canaryRule {
				info.Rules = append(info.Rules, r.Rule)
			}
		}
	}
	return info
}

// errUnknown is returned for parts of which nobody knows what they are.
var errUnknown = errors.New("a part of a kind that is not known")

// piece is how much text is read between two looks at the clock.
const piece = 4096

func (f family) run(ctx context.Context, p *detect.Pass[*chat.Exchange]) error {
	x := p.Subject
	o, err := NewOutput(OutputConfig{}, x)
	if err != nil {
		return err
	}
	for slot := range o.recs {
		if slot < slots && !slices.Contains(f.slots, slot) {
			o.recs[slot], o.tool[slot] = stream.Recogniser{}, stream.Recogniser{}
		}
	}
	if f.prefix != "WDN-EX-4" {
		o.print = nil
	}
	unknown := 0
	for i, m := range x.Messages {
		if f.answers && !m.Answer {
			continue
		}
		for j, part := range m.Parts {
			if part.Kind == chat.Unknown {
				unknown++
			}
			if err := f.part(ctx, p, o, fmt.Sprintf("messages/%d/parts/%d", i, j), part); err != nil {
				return err
			}
		}
	}
	if unknown > 0 {
		return fmt.Errorf("%d times: %w", unknown, errUnknown)
	}
	return nil
}

// part looks at the text of one part.
func (f family) part(ctx context.Context, p *detect.Pass[*chat.Exchange], o *OutputScanner, path string, part chat.Part) error {
	tool := part.Kind == chat.ToolCall
	view := stream.View{JSON: tool}
	t := o.Text(tool)
	tell := func(m stream.Match) {
		r, sev, ok := o.Rule(m, tool)
		if m.More || !ok || !strings.HasPrefix(string(r.ID), f.prefix) {
			return
		}
		places := view.Pieces(m.Start, m.End, false)
		if len(places) == 0 {
			return
		}
		msg := r.Title
		if m.Note != "" {
			msg += ": " + m.Note
		}
		p.Emit(warden.Finding{
			Rule: r.ID, Severity: sev, Message: msg, Evidence: Evidence(m),
			At: warden.Location{Path: path, Span: warden.Span{Unit: warden.Bytes, Start: places[0].Start, End: places[len(places)-1].End}},
		})
	}
	var buf []byte
	for text, last := part.Text, false; !last; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(piece, len(text))
		last = n == len(text)
		buf = view.Add(buf[:0], text[:n], last)
		until := t.Add(buf, last, tell)
		view.Forget(until)
		text = text[n:]
	}
	if t.Overrun() {
		return fmt.Errorf("%s: too much is undecided at once: %w", path, detect.ErrLimit)
	}
	return nil
}

// Evidence shows the last four characters of a long match: enough to find it
// again, not to use it.
func Evidence(m stream.Match) string {
	const shown, least = 4, 12
	r := []rune(m.Whole)
	if len(r) < least {
		return m.Kind
	}
	return detect.Printable(m.Kind+" …"+string(r[len(r)-shown:]), warden.EvidenceBytes)
}
