package prompt

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"unicode/utf8"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/chat"
	"github.com/modelwarden/warden/internal/text/view"
)

const (
	shingle    = 5       // words in a row that are a value
	maxValues  = 1 << 20 // atoms and shingles of one index
	maxJSON    = 64      // nesting of arguments
	leastDigit = 6       // digits of a number that tells where it is from
)

// values are the atoms and shingles of texts, each with the label of the text
// that had it first.
type values struct {
	of   map[string]string
	full bool
}

func (v *values) add(value, label string) {
	if len(v.of) >= maxValues {
		v.full = true
		return
	}
	if _, ok := v.of[value]; !ok {
		v.of[value] = label
	}
}

// each calls fn for the atoms and shingles of a text: hosts, addresses, numbers,
// paths, identifiers, and five words in a row. Views and their letters in lower
// case are what is compared.
func each(ctx context.Context, b []byte, fn func(kind, value string)) {
	b = bytes.ToLower(b)
	var words []string
	var number []byte
	flush := func() {
		if len(number) >= leastDigit {
			fn("number", string(number))
		}
		number = number[:0]
	}
	n := 0
	for token := range bytes.FieldsFuncSeq(b, separates) {
		if n++; n%pace == 0 && ctx.Err() != nil {
			return
		}
		digits, others := 0, 0
		for _, c := range token {
			if c >= '0' && c <= '9' {
				digits++
			} else if c != '-' && c != '.' && c != '+' && c != '/' {
				others++
			}
		}
		if digits > 0 && others == 0 { // numbers are written in groups
			for _, c := range token {
				if c >= '0' && c <= '9' {
					number = append(number, c)
				}
			}
			if d := only(token); len(d) >= leastDigit {
				fn("number", string(d))
			}
		} else {
			flush()
		}
		atom(string(bytes.Trim(token, ".,;:!?-_")), digits, fn)
		for _, w := range bytes.FieldsFunc(token, func(r rune) bool { return !inWord(r) }) {
			if words = append(words, string(w)); len(words) > shingle {
				words = words[1:]
			}
			if len(words) == shingle {
				fn("words", strings.Join(words, " "))
			}
		}
	}
	flush()
}

func only(b []byte) []byte {
	var out []byte
	for _, c := range b {
		if c >= '0' && c <= '9' {
			out = append(out, c)
		}
	}
	return out
}

func separates(r rune) bool {
	return r <= ' ' || strings.ContainsRune(`"'<>()[]{},;|`+"`", r)
}

// leastID is the shortest identifier of letters and digits: an IBAN, an address
// of a currency.
const leastID = 15

func atom(s string, digits int, fn func(kind, value string)) {
	if scheme := strings.Index(s, "://"); scheme > 0 {
		rest := s[scheme+3:]
		end := strings.IndexAny(rest, "/?#")
		if end < 0 {
			end = len(rest)
		}
		host := rest[:end]
		if at := strings.LastIndexByte(host, '@'); at >= 0 {
			host = host[at+1:]
		}
		host, _, _ = strings.Cut(host, ":")
		if host != "" {
			fn("host", host)
		}
		return
	}
	if at := strings.IndexByte(s, '@'); at >= 0 {
		if at > 0 && strings.Contains(s[at:], ".") {
			fn("address", strings.TrimPrefix(s, "mailto:"))
		} else if len(s) > 3 {
			fn("address", s)
		}
		return
	}
	if strings.ContainsAny(s, `/\`) && len(s) > 5 && strings.Trim(s, `/\.-0123456789`) != "" {
		fn("path", s)
		s, _, _ = strings.Cut(s, "/")
	}
	if dot := strings.LastIndexByte(s, '.'); dot > 0 && len(s)-dot > 2 && digits < len(s)-1 && strings.Trim(s[dot+1:], "abcdefghijklmnopqrstuvwxyz") == "" {
		fn("host", s)
	}
	plain := strings.ReplaceAll(s, "-", "")
	if digits > 0 && len(plain) >= leastID && strings.Trim(plain, "abcdefghijklmnopqrstuvwxyz0123456789_") == "" {
		fn("identifier", plain)
	}
}

// index collects the values of the texts that the model only read, and of those
// that operator and user wrote. What the model said counts for neither.
func (in *Input) index(ctx context.Context) (read, own *values, err error) {
	read, own = &values{of: map[string]string{}}, &values{of: map[string]string{}}
	for i := range in.Texts {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		t := &in.Texts[i]
		to, label := own, ""
		switch {
		case t.Untrusted():
			to, label = read, t.Label
			if label == "" {
				label = t.path()
			}
		case in.Exchange.Messages[t.Message].Role == chat.Assistant:
			continue
		}
		each(ctx, t.View.Text, func(kind, value string) { to.add(kind+" "+value, label) })
		for _, d := range t.Decoded {
			each(ctx, d.Text, func(kind, value string) { to.add(kind+" "+value, label) })
		}
		for _, h := range t.View.Hidden {
			if h.Class == view.Tags || h.Class == view.Selectors {
				each(ctx, []byte(h.Text), func(kind, value string) { to.add(kind+" "+value, label) })
			}
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	if read.full || own.full {
		err = fmt.Errorf("more than %d values to compare: %w", maxValues, detect.ErrLimit)
	}
	return read, own, err
}

// An argument is one value in the arguments of a call.
type argument struct{ path, value string }

// arguments reads the strings and numbers in a JSON text, with their paths.
func arguments(b []byte) ([]argument, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	type level struct {
		key   string
		array bool
		n     int
		want  bool // a key comes next
	}
	var at []level
	var out []argument
	here := func() string {
		var p strings.Builder
		for _, l := range at {
			if l.array {
				fmt.Fprintf(&p, "/%d", l.n)
			} else {
				p.WriteString("/" + l.key)
			}
		}
		return p.String()
	}
	next := func() {
		if n := len(at) - 1; n >= 0 {
			at[n].n++
			at[n].want = !at[n].array
		}
	}
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) && len(at) == 0 {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		switch v := tok.(type) {
		case json.Delim:
			if v == '}' || v == ']' {
				at = at[:len(at)-1]
				next()
				continue
			}
			if len(at) == maxJSON {
				return out, fmt.Errorf("nested deeper than %d", maxJSON)
			}
			at = append(at, level{array: v == '[', want: v == '{'})
		case string:
			if n := len(at) - 1; n >= 0 && at[n].want {
				at[n].key, at[n].want = v, false
				out = append(out, argument{here(), v}) // a key can carry a value too
				continue
			}
			out = append(out, argument{here(), v})
			next()
		case json.Number:
			out = append(out, argument{here(), v.String()})
			next()
		default:
			next()
		}
	}
}

// tainted compares the values in the arguments of calls with those of texts.
func tainted(ctx context.Context, p *pass) error {
	in := p.Subject
	calls, bad := in.calls()
	if len(calls) == 0 {
		return errors.Join(bad, in.err())
	}
	read, own, err := in.index(ctx)
	if read == nil {
		return err
	}
	for _, c := range calls {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		args, cut := arguments(c.arguments)
		if cut != nil { // all of it is looked at as text
			args = []argument{{"", string(c.arguments)}}
			bad = errors.Join(bad, fmt.Errorf("%s: arguments are not JSON: %w", c.at().Path, cut))
		}
		t, guessed := in.declared(c.name)
		in.flows(ctx, p, c, args, own)
		for _, a := range args {
			kind, label, ok := taintOf(ctx, a.value, read, own)
			if !ok {
				continue
			}
			how := "which does " + string(t.Effect)
			if guessed {
				how = "which, by its name, does " + string(t.Effect)
			}
			id := warden.RuleID(ruleTainted)
			if t.sink(a.path) && (t.Effect == Sends || t.Effect == Pays || t.Effect == Executes) {
				id = ruleTaintedSink
			}
			p.Report(id, c.at(), "%s of %s, %s: %s from %s", a.path, c.name, how, kind, label)
		}
	}
	return errors.Join(err, bad, in.err())
}

// taintOf returns the first value in an argument that the model read and nobody
// else wrote.
func taintOf(ctx context.Context, value string, read, own *values) (kind, label string, tainted bool) {
	v := view.New([]byte(value))
	each(ctx, v.Text, func(k, s string) {
		if tainted {
			return
		}
		from, ok := read.of[k+" "+s]
		if _, mine := own.of[k+" "+s]; ok && !mine {
			kind, label, tainted = k, from, true
		}
	})
	return kind, label, tainted
}

// flows reports calls after results that they must not follow.
func (in *Input) flows(ctx context.Context, p *pass, c call, args []argument, own *values) {
	for _, f := range in.Config.Flows {
		if ok, err := path.Match(f.To, c.name); err != nil || !ok {
			continue
		}
		for i := range in.Texts {
			t := &in.Texts[i]
			from, isTool := strings.CutPrefix(t.Label, "tool:")
			if ok, err := path.Match(f.From, from); !isTool || err != nil || !ok || t.Message >= c.message || in.meant(ctx, f, args, own) {
				continue
			}
			p.Report(ruleFlow, c.at(), "%s after %s", c.name, from)
			break
		}
	}
}

// meant reports whether the user wrote the value of the argument that a flow
// makes an exception for.
func (in *Input) meant(ctx context.Context, f Flow, args []argument, own *values) bool {
	found := false
	for _, a := range args {
		if a.path != "/"+f.Unless && !strings.HasPrefix(a.path, "/"+f.Unless+"/") || f.Unless == "" || a.value == f.Unless {
			continue
		}
		ok := false
		v := view.New([]byte(a.value))
		each(ctx, v.Text, func(k, s string) {
			_, mine := own.of[k+" "+s]
			ok = ok || mine
		})
		if !ok && utf8.RuneCountInString(a.value) > 1 {
			ok = in.wrote(a.value)
		}
		if !ok {
			return false
		}
		found = true
	}
	return found
}

// wrote reports whether the user or the operator wrote a text as it stands.
func (in *Input) wrote(value string) bool {
	for i := range in.Texts {
		t := &in.Texts[i]
		if !t.Untrusted() && in.Exchange.Messages[t.Message].Role != chat.Assistant && bytes.Contains(t.Source, []byte(value)) {
			return true
		}
	}
	return false
}
