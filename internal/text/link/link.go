package link

import (
	"net/url"
	"strings"

	"github.com/modelwarden/warden/internal/text/stream"
)

// Bare decides after "://" about the address that it stands in.
func (p *Policy) Bare(w stream.Window) ([]stream.Match, stream.State) {
	b := w.B
	start := w.At - len("://")
	for start > w.Lo && (alnum(b[start-1]) || b[start-1] == '+' || b[start-1] == '-' || b[start-1] == '.') {
		start--
	}
	for start < w.At && !letter(b[start]) {
		start++
	}
	end, depth := w.At, 0
	for end < len(b) && b[end] > ' ' && b[end] != 0x7f && strings.IndexByte("<>\"`{}|^", b[end]) < 0 {
		switch b[end] {
		case '(', '[':
			depth++
		case ')', ']':
			depth--
		}
		if depth < 0 {
			break
		}
		end++
	}
	if end == len(b) && !w.Ended() {
		return nil, stream.More
	}
	if w.Cap && end == len(b) {
		return long(start, end), stream.Yes
	}
	for end > w.At && strings.IndexByte(".,;:!?'*_~", b[end-1]) >= 0 {
		end--
	}
	if end == w.At || start == w.At-3 {
		return nil, stream.No
	}
	kind, note := p.judge(string(b[start:end]))
	if kind == "" || kind == "url-malformed" {
		return nil, stream.No
	}
	return match(start, end, kind, note, "[URL]"), stream.Yes
}

func letter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
func alnum(c byte) bool  { return letter(c) || c >= '0' && c <= '9' }

// Image decides at "!" about a Markdown image.
func (p *Policy) Image(w stream.Window) ([]stream.Match, stream.State) {
	b, at := w.B, w.At
	if at+1 == len(b) && !w.Ended() {
		return nil, stream.More
	}
	if at+1 >= len(b) || b[at+1] != '[' {
		return nil, stream.No
	}
	end, state := bracket(w, at+1)
	if state != stream.Yes {
		return unterminated(w, at, state)
	}
	alt := string(b[at+2 : end-1])
	if end == len(b) && !w.Ended() {
		return nil, stream.More
	}
	if end < len(b) && b[end] == '(' {
		dest, stop, state := destination(w, end+1)
		if state == stream.More {
			return unterminated(w, at, stream.More)
		}
		if state != stream.Yes {
			return nil, stream.No
		}
		switch {
		case active(dest):
			return match(at, stop, "url-scheme", "", text(alt)), stream.Yes
		case p.fetched(dest):
			return match(at, stop, "image", "", text(alt)), stream.Yes
		}
		return nil, stream.No
	}
	label, stop := alt, end
	if end < len(b) && b[end] == '[' {
		stop, state = bracket(w, end)
		if state == stream.More {
			return unterminated(w, at, state)
		}
		if state == stream.Yes && stop > end+2 {
			label = string(b[end+1 : stop-1])
		} else if state == stream.No {
			stop = end
		}
	}
	m := stream.Match{Start: int64(at), End: int64(stop), Kind: Use, Group: PairGroup, Note: fold(label), Text: text(alt)}
	return []stream.Match{m}, stream.Yes
}

// text is what stands for an image: what it says instead of itself.
func text(alt string) string {
	if strings.TrimSpace(alt) == "" {
		return "[image]"
	}
	return alt
}

// fold makes labels equal that name the same definition (CommonMark 6.3).
func fold(label string) string { return strings.Join(strings.Fields(strings.ToLower(label)), " ") }

func unterminated(w stream.Window, at int, state stream.State) ([]stream.Match, stream.State) {
	if state == stream.More && w.Cap {
		return long(at, len(w.B)), stream.Yes
	}
	if state == stream.More && !w.Last {
		return nil, stream.More
	}
	return nil, stream.No
}

// bracket returns the place after the bracket that closes the one at i. Text with
// a blank line, or another image, is none.
func bracket(w stream.Window, i int) (int, stream.State) {
	b, depth := w.B, 0
	for ; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '[':
			if depth++; depth > 1 && b[i-1] == '!' {
				return i, stream.No
			}
		case ']':
			if depth--; depth == 0 {
				return i + 1, stream.Yes
			}
		case '\n':
			if i+1 < len(b) && b[i+1] == '\n' {
				return i, stream.No
			}
		}
	}
	return len(b), stream.More
}

// garbage is how much of what is no title may stand between an address and the
// closing parenthesis. CommonMark allows none; some readers do.
const garbage = 256

// destination reads an address and a title up to the closing parenthesis
// (CommonMark 6.3).
func destination(w stream.Window, i int) (dest string, end int, state stream.State) {
	b := w.B
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t') {
		i++
	}
	start, depth := i, 0
	from := i
	var to int
	if i < len(b) && b[i] == '<' {
		for i < len(b) && b[i] != '>' && b[i] != '\n' {
			i++
		}
		if i == len(b) {
			return "", i, stream.More
		}
		from, to = start+1, i
		i++
	} else {
		for i < len(b) && b[i] > ' ' {
			if b[i] == '\\' {
				i++
			} else if b[i] == '(' {
				depth++
			} else if b[i] == ')' {
				if depth == 0 {
					break
				}
				depth--
			}
			i++
		}
		i = min(i, len(b))
		to = i
	}
	var quote byte
	for ; i < len(b); i++ { // the title
		switch c := b[i]; {
		case quote != 0 && c == '\\':
			i++
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			if c == '\n' && i+1 < len(b) && b[i+1] == '\n' {
				return "", i, stream.No
			}
		case c == '"', c == '\'':
			quote = c
		case c == ')':
			return unslash(string(b[from:to])), i + 1, stream.Yes
		case c == '\n' && i+1 < len(b) && b[i+1] == '\n':
			return "", i, stream.No
		case c != ' ' && c != '\n' && c != '\t' && c != '(':
			if i-to > garbage {
				return "", i, stream.No
			}
		}
	}
	return "", len(b), stream.More
}

// unslash removes the backslashes that escape (CommonMark 2.4).
func unslash(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) && s[i+1] > ' ' && s[i+1] < 0x7f && !alnum(s[i+1]) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// Target decides after "](" about the address of a link: what is wrong with it
// beyond what is wrong with any address.
func (p *Policy) Target(w stream.Window) ([]stream.Match, stream.State) {
	b := w.B
	dest, end, state := destination(w, w.At)
	switch {
	case state == stream.More && !w.Ended():
		return nil, stream.More
	case w.Cap && state == stream.More:
		return long(w.At, len(b)), stream.Yes
	case state != stream.Yes:
		return nil, stream.No
	}
	open, image := opening(b, w.At-2)
	if active(dest) {
		return match(w.At, end-1, "url-scheme", "", "#"), stream.Yes
	}
	if image && p.fetched(dest) {
		return match(w.At, end-1, "image", "", "#"), stream.Yes
	}
	if open >= 0 && deceives(string(b[open+1:w.At-2]), dest) && !p.fine(dest) {
		return match(w.At, end-1, "url-text", "", "#"), stream.Yes
	}
	return nil, stream.No
}

func (p *Policy) fine(dest string) bool {
	u, err := url.Parse(dest)
	return err == nil && trusted(p.Links, u)
}

// opening returns the place of the bracket that the one at i closes, or -1, and
// whether it begins an image.
func opening(b []byte, i int) (int, bool) {
	depth := 0
	for ; i >= 0; i-- {
		switch b[i] {
		case ']':
			depth++
		case '[':
			if depth--; depth == 0 {
				return i, i > 0 && b[i-1] == '!'
			}
		}
	}
	return -1, false
}

// deceives reports whether the text of a link shows another host than that of
// its address.
func deceives(shown, dest string) bool {
	shown = strings.ToLower(strings.Trim(strings.TrimSpace(shown), "`*_<>"))
	if strings.ContainsAny(shown, " \n[]") { // an image shows no host
		return false
	}
	scheme, rest, ok := strings.Cut(shown, "://")
	if !ok {
		rest = scheme
	}
	host, _, _ := strings.Cut(rest, "/")
	host = strings.TrimPrefix(host, "www.")
	i := strings.LastIndexByte(host, '.')
	if i <= 0 || !ok && !strings.HasPrefix(shown, "www.") && !domains[host[i+1:]] || strings.IndexByte(host, '@') >= 0 {
		return false
	}
	u, err := url.Parse(clean(dest))
	if err != nil || u.Host == "" {
		return err != nil
	}
	real := strings.TrimPrefix(strings.ToLower(u.Hostname()), "www.")
	return real != host && !strings.HasSuffix(real, "."+host) && !strings.HasSuffix(host, "."+real)
}

// domains are top-level domains that are not also endings of names of files.
var domains = map[string]bool{
	"com": true, "org": true, "net": true, "edu": true, "gov": true, "mil": true, "int": true, "io": true, "co": true, "bank": true,
	"de": true, "uk": true, "fr": true, "eu": true, "it": true, "es": true, "nl": true, "ch": true, "at": true, "be": true, "se": true,
	"no": true, "dk": true, "fi": true, "us": true, "ca": true, "au": true, "jp": true, "cn": true, "in": true, "br": true, "ru": true,
	"info": true, "biz": true, "app": true, "dev": true, "ai": true, "cloud": true, "online": true, "shop": true, "site": true,
}

// Defined decides after "]:" about a reference definition at the beginning of a
// line.
func (p *Policy) Defined(w stream.Window) ([]stream.Match, stream.State) {
	b := w.B
	open, _ := opening(b, w.At-2)
	if open < 0 {
		return nil, stream.No
	}
	for i := open; i > 0 && b[i-1] != '\n'; i-- {
		if b[i-1] != ' ' && b[i-1] != '>' {
			return nil, stream.No
		}
	}
	i := w.At
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t') {
		i++
	}
	start := i
	for i < len(b) && b[i] > ' ' {
		i++
	}
	if i == len(b) && !w.Ended() {
		return nil, stream.More
	}
	dest := strings.Trim(string(b[start:i]), "<>")
	switch {
	case i == start:
		return nil, stream.No
	case w.Cap && i == len(b):
		return long(start, i), stream.Yes
	case active(dest):
		return match(start, i, "url-scheme", "", "#"), stream.Yes
	case p.fetched(dest):
		return []stream.Match{{Start: int64(start), End: int64(i), Kind: Definition, Group: PairGroup, Note: fold(string(b[open+1 : w.At-2])), Text: "#"}}, stream.Yes
	}
	return nil, stream.No
}

// styleCap is how long an address in a style sheet may be.
const styleCap = 2 << 10

// Style decides after "url(" or "@import" about an address in a style sheet.
func (p *Policy) Style(w stream.Window) ([]stream.Match, stream.State) {
	b, i := w.B, w.At
	for i < len(b) && (b[i] == ' ' || b[i] == '"' || b[i] == '\'') {
		i++
	}
	start := i
	for i < len(b) && b[i] > ' ' && strings.IndexByte(`"');`, b[i]) < 0 {
		if i++; i-start == styleCap {
			return long(start, i), stream.Yes
		}
	}
	if i == len(b) && !w.Ended() {
		return nil, stream.More
	}
	dest := string(b[start:i])
	low := strings.ToLower(clean(dest))
	if !strings.HasPrefix(low, "http:") && !strings.HasPrefix(low, "https:") && !strings.HasPrefix(low, "//") || !p.fetched(dest) {
		return nil, stream.No
	}
	return match(start, i, "image", "in a style", "#"), stream.Yes
}
