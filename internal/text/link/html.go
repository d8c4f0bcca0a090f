package link

import (
	"bytes"
	"html"
	"strings"

	"github.com/modelwarden/warden/internal/text/stream"
)

// What elements of HTML do, beyond what all may: names of attributes whose
// address is fetched, and whether they run or change the page.
//
// Source: HTML standard, and the attack surface that sanitisers list.
type element struct {
	fetch  string // names, with spaces around each
	active bool
}

var elements = map[string]element{
	"img": {" src srcset ", false}, "image": {" href xlink:href src ", false}, "input": {" src ", false}, "video": {" src poster ", false},
	"audio": {" src ", false}, "source": {" src srcset ", false}, "track": {" src ", false}, "link": {" href imagesrcset ", false},
	"body": {" background ", false}, "table": {" background ", false}, "td": {" background ", false}, "th": {" background ", false},
	"use": {" href xlink:href ", false}, "feimage": {" href xlink:href ", false}, "bgsound": {" src ", false}, "a": {"", false}, "area": {"", false},
	"script": {" src href xlink:href ", true}, "iframe": {" src srcdoc ", true}, "frame": {" src ", true}, "object": {" data codebase ", true},
	"embed": {" src ", true}, "applet": {" code codebase archive ", true}, "base": {" href ", true}, "form": {" action ", true},
	"meta": {"", false}, "style": {"", false}, "svg": {"", false}, "portal": {" src ", true},
}

type attribute struct{ name, value string }

// Tag decides at "<" about an element of HTML, or an address in Slack's markup.
func (p *Policy) Tag(w stream.Window) ([]stream.Match, stream.State) {
	b, at := w.B, w.At
	i := at + 1
	for i < len(b) && (alnum(b[i]) || b[i] == '-' && i > at+1) && i-at < 32 {
		i++
	}
	if i == len(b) && !w.Ended() {
		return nil, stream.More
	}
	if i == at+1 || !letter(b[at+1]) {
		return nil, stream.No
	}
	name := strings.ToLower(string(b[at+1 : i]))
	if i < len(b) && b[i] == ':' {
		return p.slack(w, i)
	}
	e, known := elements[name]
	attrs, end, state := attributes(w, i, known)
	switch {
	case state == stream.More && !w.Ended():
		return nil, stream.More
	case state == stream.More && w.Cap && known:
		return long(at, len(b)), stream.Yes
	case state == stream.Yes && end < 0: // more than anybody writes
		return long(at, -end), stream.Yes
	case state != stream.Yes:
		return nil, stream.No
	}
	alt := ""
	for _, a := range attrs {
		if a.name == "alt" {
			alt = a.value
		}
	}
	for _, a := range attrs {
		switch {
		case strings.HasPrefix(a.name, "on") && len(a.name) > 4:
			return match(at, end, "active-html", a.name, ""), stream.Yes
		case (a.name == "href" || a.name == "src" || a.name == "action" || a.name == "formaction" || a.name == "xlink:href" || a.name == "data") && active(a.value):
			return match(at, end, "url-scheme", "", text(alt)), stream.Yes
		case strings.Contains(e.fetch, " "+a.name+" ") && p.set(a):
			return match(at, end, "image", name, text(alt)), stream.Yes
		case name == "meta" && a.name == "content" && strings.Contains(strings.ToLower(a.value), "url="):
			return match(at, end, "active-html", "refresh", ""), stream.Yes
		case a.name == "style" && strings.Contains(strings.ToLower(a.value), "url(") && p.fetched(inner(a.value)):
			return match(at, end, "image", "in a style", text(alt)), stream.Yes
		}
	}
	if e.active {
		return match(at, end, "active-html", name, ""), stream.Yes
	}
	if name == "a" {
		return p.anchor(w, attrs, end)
	}
	return nil, stream.No
}

// set reports whether an attribute holds an address that may not be fetched; a
// set of sources holds several.
func (p *Policy) set(a attribute) bool {
	if !strings.HasSuffix(a.name, "srcset") {
		return p.fetched(a.value)
	}
	for s := range strings.SplitSeq(a.value, ",") {
		if f := strings.Fields(s); len(f) > 0 && p.fetched(f[0]) {
			return true
		}
	}
	return false
}

func inner(style string) string {
	i := strings.Index(strings.ToLower(style), "url(") + len("url(")
	rest, _, _ := strings.Cut(style[i:], ")")
	return strings.Trim(rest, " '\"")
}

// anchor compares what a link shows with its address.
func (p *Policy) anchor(w stream.Window, attrs []attribute, end int) ([]stream.Match, stream.State) {
	stop := end
	for stop < len(w.B) && stop-end < 256 && w.B[stop] != '<' {
		stop++
	}
	if stop == len(w.B) && !w.Ended() {
		return nil, stream.More
	}
	for _, a := range attrs {
		if a.name == "href" && deceives(string(w.B[end:stop]), a.value) && !p.fine(a.value) {
			return match(w.At, end, "url-text", "", "<a>"), stream.Yes
		}
	}
	return nil, stream.No
}

// shownCap is how much of the text of a link is compared with its address.
const shownCap = 512

// slack decides about <address|text>.
func (p *Policy) slack(w stream.Window, i int) ([]stream.Match, stream.State) {
	b, bar := w.B, 0
	for i < len(b) && b[i] != '>' && b[i] != '<' && b[i] > ' ' || i < len(b) && bar > 0 && b[i] != '>' && b[i] != '<' && b[i] != '\n' {
		if b[i] == '|' && bar == 0 {
			bar = i
		}
		if bar > 0 && i-bar > shownCap { // no host is so long
			if active(string(b[w.At+1 : bar])) {
				return match(w.At, i, "url-scheme", "", ""), stream.Yes
			}
			return nil, stream.No
		}
		i++
	}
	if i == len(b) && !w.Ended() {
		return nil, stream.More
	}
	if i == len(b) && w.Cap {
		return long(w.At, i), stream.Yes
	}
	if i == len(b) || b[i] != '>' {
		return nil, stream.No
	}
	dest := string(b[w.At+1 : i])
	shown := ""
	if bar > 0 {
		dest, shown = string(b[w.At+1:bar]), string(b[bar+1:i])
	}
	switch {
	case active(dest):
		return match(w.At, i+1, "url-scheme", "", text(shown)), stream.Yes
	case shown != "" && deceives(shown, dest) && !p.fine(dest):
		return match(w.At, i+1, "url-text", "", shown), stream.Yes
	}
	return nil, stream.No
}

// attributes reads those of an element up to ">". Of elements that nobody knows
// only well-formed ones are read, so that a comparison in a program is none. A
// place below zero says that a known one has more than are read, up to there.
func attributes(w stream.Window, i int, lenient bool) ([]attribute, int, stream.State) {
	b := w.B
	var list []attribute
	for i < len(b) {
		c := b[i]
		switch {
		case c == '>':
			return list, i + 1, stream.Yes
		case c <= ' ' || c == '/':
			i++
			continue
		case c == '<':
			return nil, i, stream.No
		case lenient && len(list) == 64:
			return nil, -i, stream.Yes
		case !lenient && !letter(c) && c != ':' && c != '_' && c != '@' || len(list) == 64:
			return nil, i, stream.No
		}
		start := i
		for i < len(b) && b[i] > ' ' && b[i] != '=' && b[i] != '>' && b[i] != '/' {
			i++
		}
		if !lenient && bytes.IndexByte(b[start:i], '<') >= 0 {
			return nil, i, stream.No
		}
		a := attribute{name: strings.ToLower(string(b[start:i]))}
		if i == start { // a stray "="
			i++
			continue
		}
		j := i
		for j < len(b) && b[j] <= ' ' {
			j++
		}
		if j < len(b) && b[j] == '=' {
			j++
			for j < len(b) && b[j] <= ' ' {
				j++
			}
			from := j
			if j < len(b) && (b[j] == '"' || b[j] == '\'') {
				q := b[j]
				for j++; j < len(b) && b[j] != q; {
					j++
				}
				if j == len(b) {
					return nil, j, stream.More
				}
				a.value = string(b[from+1 : j])
				j++
			} else {
				for j < len(b) && b[j] > ' ' && b[j] != '>' {
					j++
				}
				if !lenient && bytes.IndexByte(b[from:j], '<') >= 0 {
					return nil, j, stream.No
				}
				a.value = string(b[from:j])
			}
			i = j
		}
		a.value = entities(a.value)
		list = append(list, a)
	}
	return nil, len(b), stream.More
}

// entities decodes what a browser decodes in the value of an attribute.
func entities(s string) string {
	if strings.IndexByte(s, '&') < 0 {
		return s
	}
	return html.UnescapeString(s)
}
