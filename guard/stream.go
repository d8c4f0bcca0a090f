// Package guard examines exchanges with models: what goes in, and what comes
// out while it comes out.
package guard

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/chat"
	"github.com/modelwarden/warden/internal/check/prompt"
	"github.com/modelwarden/warden/internal/text/stream"
)

// An Exchange is one request to a model and its answer.
type Exchange = chat.Exchange

// A Lane is one of the texts that an answer consists of.
type Lane = chat.Lane

// Bounds of a stream.
const (
	maxLanes    = 512
	maxFindings = 1000
	maxDepth    = 64
	maxText     = 8 << 20
)

// A Segment says what became of the bytes [Start, End) of a lane's source text,
// in order and without gaps. Text stands for them if they are Changed.
type Segment struct {
	Start, End int64
	Changed    bool
	Text       []byte
}

// An Allowance lets a rule's matches pass. Either Digest is that of the matched
// text, or Literal is the text, or Prefix its beginning.
type Allowance struct {
	Rule            warden.RuleID
	Digest          warden.Digest
	Literal, Prefix string
}

// A StreamConfig says how an answer is examined. The zero config looks for
// everything, does what each rule says, and lets no image and no address of an
// image through.
type StreamConfig struct {
	// Rules gives rules another effect than their own; Families does so for all
	// rules of a family, such as "WDN-EX-5": the longest that fits counts.
	Rules    map[warden.RuleID]warden.Effect
	Families map[string]warden.Effect
	Shadow   map[warden.RuleID]bool // recorded, and nothing is done
	Allow    []Allowance

	URLHosts     []string // host, or host with the beginning of a path, that links may name without a remark
	ImageHosts   []string // the same for what a reader fetches without being asked
	PhoneRegions []string // such as "US": whose numbers count without a country code and without a word beside them

	Words  int    // of the operator's text in a row that are a leak; 0: 12, below 0: not looked for
	Canary string // a word that stands in the operator's text only

	// Restore gives the values of placeholders that stand in the request. They
	// come back in what people read, not in what tools get.
	Restore map[string]string

	// Decide answers for the policy: it is given what configuration or rule say,
	// and returns what is done. A stream asks once for each rule and severity.
	Decide func(f warden.Finding, effect warden.Effect) warden.Effect

	MaxBytes    int64 // of all lanes; 0: 8 MiB
	MaxFindings int   // that are kept; 0: 1,000
}

// A StreamResult is what a stream came to.
type StreamResult struct {
	Findings  []warden.Finding
	Did       []warden.Effect  // about each of them
	Shadowed  []warden.Finding // of rules in shadow
	Counts    map[warden.RuleID]int
	Effect    warden.Effect // the strongest: allow, review, redact or deny
	Complete  bool
	Reasons   []string // why it is not
	Truncated bool     // more was found than is kept
}

// A Stream examines one answer while it comes. It holds back only what may still
// turn into something that must not leave. It belongs to one goroutine.
type Stream struct {
	cfg     StreamConfig
	out     *prompt.OutputScanner
	lanes   map[chat.Lane]*lane
	res     StreamResult
	reasons map[string]bool
	decided map[verdict]warden.Effect
	read    int64
	denied  bool
	scratch []byte
}

// A verdict is what effects depend on.
type verdict struct {
	rule     warden.RuleID
	severity warden.Severity
}

type lane struct {
	id     chat.Lane
	path   string
	view   stream.View
	text   *prompt.OutputText
	out    int64 // of the source: decided
	segs   []Segment
	taken  map[string]bool // kinds of which the last match was taken out
	denied bool
	closed bool
	failed error
}

// NewStream prepares to examine the answer to x.
func NewStream(cfg StreamConfig, x *chat.Exchange) (*Stream, error) {
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = maxText
	}
	if cfg.MaxFindings == 0 {
		cfg.MaxFindings = maxFindings
	}
	out, err := prompt.NewOutput(prompt.OutputConfig{
		PhoneRegions: cfg.PhoneRegions, URLHosts: cfg.URLHosts, ImageHosts: cfg.ImageHosts, Words: cfg.Words, Canary: cfg.Canary, Restore: cfg.Restore,
	}, x)
	if err != nil {
		return nil, err
	}
	s := &Stream{
		cfg: cfg, out: out, lanes: map[chat.Lane]*lane{}, reasons: map[string]bool{}, decided: map[verdict]warden.Effect{},
		res: StreamResult{Effect: warden.Allow, Complete: true, Counts: map[warden.RuleID]int{}},
	}
	for _, why := range out.Reasons() {
		s.incomplete(why)
	}
	return s, nil
}

// Write adds p to a lane and returns what is decided by it; of a lane that a
// finding denies nothing more is. An error wraps [detect.ErrLimit]: not
// everything was looked at, and nothing more of the lane may leave.
func (s *Stream) Write(id chat.Lane, p []byte) ([]Segment, error) { return s.add(id, p, false) }

// Close says that a lane ended properly and returns what is left of it.
func (s *Stream) Close(id chat.Lane) ([]Segment, error) { return s.add(id, nil, true) }

func (s *Stream) add(id chat.Lane, p []byte, last bool) ([]Segment, error) {
	l, err := s.lane(id)
	if err != nil {
		return nil, err
	}
	if l.failed != nil || l.denied {
		return nil, l.failed
	}
	if l.closed {
		return nil, s.fail(l, fmt.Errorf("%s has ended: %w", l.path, detect.ErrLimit))
	}
	if s.read += int64(len(p)); s.read > s.cfg.MaxBytes {
		return nil, s.fail(l, fmt.Errorf("the answer is longer than %d bytes: %w", s.cfg.MaxBytes, detect.ErrLimit))
	}
	l.closed = last
	l.segs = nil
	s.scratch = l.view.Add(s.scratch[:0], p, last)
	until := l.text.Add(s.scratch, last, func(m stream.Match) { s.found(l, m) })
	switch {
	case l.text.Overrun():
		return l.segs, s.fail(l, fmt.Errorf("%s: too much is undecided at once: %w", l.path, detect.ErrLimit))
	case l.view.Depth() > maxDepth:
		return l.segs, s.fail(l, fmt.Errorf("%s: nested deeper than %d: %w", l.path, maxDepth, detect.ErrLimit))
	case l.view.Malformed():
		s.incomplete(l.path + ": the arguments are not JSON")
	}
	if l.denied {
		return l.segs, nil
	}
	if to := l.view.Released(until); last {
		l.keep(l.view.Source())
	} else {
		l.keep(to)
	}
	l.view.Forget(until)
	return l.segs, nil
}

// PathOf names a lane as findings do.
func PathOf(id Lane) string { return fmt.Sprintf("choices/%d/%s/%d", id.Choice, id.Kind, id.Index) }

func (s *Stream) lane(id chat.Lane) (*lane, error) {
	if l := s.lanes[id]; l != nil {
		return l, nil
	}
	if len(s.lanes) == maxLanes {
		s.incomplete("more lanes than may be")
		return nil, fmt.Errorf("more than %d lanes: %w", maxLanes, detect.ErrLimit)
	}
	l := &lane{id: id, path: PathOf(id), text: s.out.Text(id.Kind == chat.ToolCall), taken: map[string]bool{}}
	l.view.JSON = id.Kind == chat.ToolCall
	s.lanes[id] = l
	return l, nil
}

func (s *Stream) fail(l *lane, err error) error {
	l.failed = err
	s.incomplete(err.Error())
	return err
}

func (s *Stream) incomplete(why string) {
	s.res.Complete = false
	if !s.reasons[why] && len(s.reasons) < 100 {
		s.reasons[why] = true
		s.res.Reasons = append(s.res.Reasons, why)
	}
}

// keep lets the source go up to a place.
func (l *lane) keep(to int64) {
	if to > l.out {
		l.segs = append(l.segs, Segment{Start: l.out, End: to})
		l.out = to
	}
}

// found decides about a match.
func (s *Stream) found(l *lane, m stream.Match) {
	if l.denied {
		return
	}
	if m.More {
		if l.taken[m.Kind] {
			l.take(m, "")
		}
		return
	}
	if prompt.Restores(m) {
		l.take(m, m.Text)
		return
	}
	tool := l.id.Kind == chat.ToolCall
	r, sev, ok := s.out.Rule(m, tool)
	if !ok {
		s.incomplete("no rule for " + m.Kind)
		return
	}
	if s.allowed(r.ID, m.Whole) {
		l.taken[m.Kind] = false
		return
	}
	pieces := l.view.Pieces(m.Start, m.End, false)
	if len(pieces) == 0 {
		return
	}
	f := warden.Finding{
		Rule: r.ID, Severity: sev, Subject: warden.Ref{Kind: warden.KindExchange},
		At: warden.Location{Path: l.path, Span: warden.Span{Unit: warden.Bytes, Start: pieces[0].Start, End: pieces[len(pieces)-1].End}},
	}
	v := verdict{r.ID, sev}
	effect, known := s.decided[v]
	list := &s.res.Findings
	if s.cfg.Shadow[r.ID] {
		list = &s.res.Shadowed
	}
	kept := len(*list) < s.cfg.MaxFindings
	if kept || !known {
		f.Message, f.Evidence = detect.Printable(message(r.Title, m.Note), 1024), prompt.Evidence(m)
		if !known {
			effect = s.effect(f, r.Effect)
			s.decided[v] = effect
		}
		if kept {
			*list = append(*list, f)
		}
	}
	if s.cfg.Shadow[r.ID] {
		l.taken[m.Kind] = false
		return
	}
	if kept {
		s.res.Did = append(s.res.Did, effect)
	}
	s.res.Counts[r.ID]++
	s.res.Truncated = s.res.Truncated || !kept
	if rank(effect) > rank(s.res.Effect) {
		s.res.Effect = effect
	}
	l.taken[m.Kind] = effect == warden.Redact
	switch effect {
	case warden.Redact:
		text := m.Text
		switch {
		case m.Inside != "" && l.taken[m.Inside]:
			text = ""
		case text == "":
			text = "[" + strings.ToUpper(strings.ReplaceAll(m.Kind, "-", "_")) + "]"
		}
		l.take(m, text)
	case warden.Deny, warden.Require:
		l.keep(pieces[0].Start)
		l.denied, s.denied = true, true
	default:
	}
}

// take puts text in place of a match.
func (l *lane) take(m stream.Match, text string) {
	for i, p := range l.view.Pieces(m.Start, m.End, m.More) {
		if p.End <= l.out {
			continue
		}
		cut := p.Start < l.out
		p.Start = max(p.Start, l.out)
		b := []byte(text)
		switch {
		case p.Bare && cut:
			b = []byte("0")
		case p.Bare && i > 0:
			b = []byte("null")
		case p.Bare:
			b = quote(text)
		case i > 0:
			b = nil
		case p.Quoted:
			q := quote(text)
			b = q[1 : len(q)-1]
		}
		l.keep(p.Start)
		l.segs = append(l.segs, Segment{Start: p.Start, End: p.End, Changed: true, Text: b})
		l.out = p.End
	}
}

func quote(text string) []byte {
	b, err := json.Marshal(text)
	if err != nil {
		return []byte(`""`)
	}
	return b
}

func (s *Stream) allowed(rule warden.RuleID, whole string) bool {
	if whole == "" {
		return false
	}
	for _, a := range s.cfg.Allow {
		if a.Rule != rule {
			continue
		}
		if a.Literal == whole && whole != "" || a.Prefix != "" && strings.HasPrefix(whole, a.Prefix) || a.Digest == warden.Sum([]byte(whole)) {
			return true
		}
	}
	return false
}

// effect is what the policy makes of what the configuration, else the rule says.
func (s *Stream) effect(f warden.Finding, own warden.Effect) warden.Effect {
	e := s.configured(f, own)
	if s.cfg.Decide != nil {
		e = s.cfg.Decide(f, e)
	}
	return e
}

func (s *Stream) configured(f warden.Finding, own warden.Effect) warden.Effect {
	if e, ok := s.cfg.Rules[f.Rule]; ok {
		return e
	}
	best := ""
	for _, family := range slices.Sorted(maps.Keys(s.cfg.Families)) {
		if strings.HasPrefix(string(f.Rule), family) && len(family) > len(best) {
			best, own = family, s.cfg.Families[family]
		}
	}
	return own
}

func rank(e warden.Effect) int {
	switch e {
	case warden.Allow:
		return 0
	case warden.AllowReview:
		return 1
	case warden.Redact:
		return 2
	case warden.Require, warden.Deny:
		return 3
	default:
		return 3
	}
}

func message(title, note string) string {
	if note == "" {
		return title
	}
	return title + ": " + note
}

// Denied reports whether a finding so far denies the answer.
func (s *Stream) Denied() bool { return s.denied }

// Finish returns what was found so far. Lanes that were not closed make the
// result incomplete: what they hold was not decided.
func (s *Stream) Finish() StreamResult {
	res := s.res
	res.Findings, res.Shadowed, res.Reasons = slices.Clone(res.Findings), slices.Clone(res.Shadowed), slices.Clone(res.Reasons)
	res.Counts, res.Did = maps.Clone(res.Counts), slices.Clone(res.Did)
	for _, l := range s.lanes {
		if !l.closed && !l.denied && l.failed == nil {
			res.Complete = false
			res.Reasons = append(res.Reasons, l.path+" has not ended")
		}
	}
	slices.Sort(res.Reasons)
	return res
}
