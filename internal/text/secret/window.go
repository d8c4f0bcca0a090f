package secret

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"slices"

	"github.com/modelwarden/warden/internal/text/stream"
)

// Group is the group of all matches of this package in a stream.
const Group = 2

// Most bytes after a word that belong to it, in a stream.
const (
	WindowCap = 900 // of In
	TokenCap  = 4096
	valueCap  = 640
	nameRest  = 24 // of a name, after its first word
	leastRun  = 16 // a secret without a name before it is at least so long
)

// Words returns the words that call for In, in order.
func (r *Rules) Words() []string {
	list := slices.Clone(r.list)
	slices.Sort(list)
	return list
}

// In decides about the text around a word that ends at w.At. What belongs to the
// word is the rest of its run, and, where an operator follows, one value.
func (r *Rules) In(w stream.Window) ([]stream.Match, stream.State) {
	b, at := w.B, w.At
	start := at
	for start > w.Lo && token(b[start-1]) {
		start--
	}
	run, again := at, w.Prev > start
	for run < len(b) && token(b[run]) {
		if run++; again && run-at > nameRest { // the word before looks at all of the run
			return nil, stream.No
		}
	}
	if run == len(b) && !w.Ended() {
		return nil, stream.More
	}
	end, named, more := value(w)
	if more {
		return nil, stream.More
	}
	if !named && run-start < leastRun {
		return nil, stream.No
	}
	end = max(end, run)
	if named && end >= at+valueCap && opaque(b[at:end]) {
		return []stream.Match{{Start: int64(start), End: int64(end), Kind: "unterminated", Group: Group, Priority: 9}}, stream.Yes
	}
	from := max(0, start-near/2)
	part := b[from:min(len(b), end+1)]
	hits, err := r.find(func() error { return nil }, "", part, 0, len(part))
	if err != nil {
		// An expression that does not compile is found by the tests of the table.
		return []stream.Match{{Start: int64(start), End: int64(end), Kind: "secret", Group: Group, Note: err.Error()}}, stream.Yes
	}
	var found []stream.Match
	for _, h := range hits {
		if h.End+from > w.Lo {
			found = append(found, stream.Match{Start: int64(h.Start + from), End: int64(h.End + from), Kind: "secret", Group: Group, Note: h.Rule})
		}
	}
	if len(found) == 0 {
		return nil, stream.No
	}
	return found, stream.Yes
}

// opaque reports whether the end of b is one run without a space.
func opaque(b []byte) bool {
	return !bytes.ContainsAny(b[max(0, len(b)-valueCap/2):], " \t\r\n")
}

func token(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == '-' || c == '.' || c == '+' || c == '/' || c == '=' || c == '~'
}

// value returns where the value of a name that w.At is in ends: after the name
// come an operator and quotes. The bounds are those of the rules.
func value(w stream.Window) (end int, named, more bool) {
	b, i := w.B, w.At
	skip := func(most int, in func(c byte) bool) {
		for n := 0; n < most && i < len(b) && in(b[i]); n++ {
			i++
		}
	}
	skip(20, func(c byte) bool {
		return c == ' ' || c == '\t' || c != '+' && c != '/' && c != '=' && c != '~' && token(c)
	})
	skip(3, quoteOrSpace)
	if i == len(b) {
		return w.At, false, !w.Ended()
	}
	from := i
	skip(3, func(c byte) bool { return bytes.IndexByte([]byte("=:>|?,"), c) >= 0 })
	if i == from {
		return w.At, false, false
	}
	skip(6, func(c byte) bool { return quoteOrSpace(c) || c == '`' || c == '=' })
	from = i
	for i < len(b) && i-from < valueCap && !quoteOrSpace(b[i]) && b[i] != '`' && b[i] != ';' && b[i] != '\\' {
		i++
	}
	return i, true, i == len(b) && !w.Ended()
}

func quoteOrSpace(c byte) bool {
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '"' || c == '\''
}

var (
	keyBody   = stream.NewBody("+/= \t\r\n:,-\\", "-----END")
	tokenBody = stream.NewBody("-_.=", "")
)

// PEMWords are the ends of the first line of a private key (RFC 7468).
func PEMWords() []string { return []string{"private key-----", "private key block-----"} }

// PEM decides whether w.At is after the first line of a private key. All of the
// key is taken with it.
func PEM(w stream.Window) ([]stream.Match, stream.State) {
	line := w.B[max(0, w.At-80):w.At]
	i := bytes.LastIndex(line, []byte("-----BEGIN "))
	if i < 0 || bytes.ContainsAny(line[i:], "\r\n") {
		return nil, stream.No
	}
	m := stream.Match{Start: int64(w.At - len(line) + i), End: int64(w.At), Kind: "private-key", Group: Group}
	return []stream.Match{m.Swallow(keyBody)}, stream.Yes
}

// JWT decides at a full stop whether it ends the header of a signed token
// (RFC 7519). All of the token is taken with it.
func JWT(w stream.Window) ([]stream.Match, stream.State) {
	start := w.At
	for start > 0 && urlSafe(w.B[start-1]) {
		start--
	}
	if start == 0 && w.At >= stream.Before || w.At-start < 16 || !header(w.B[start:w.At]) {
		return nil, stream.No
	}
	m := stream.Match{Start: int64(start), End: int64(w.At) + 1, Kind: "jwt", Group: Group}
	return []stream.Match{m.Swallow(tokenBody)}, stream.Yes
}

// LongJWT decides after the letters of which headers begin about a token whose
// header is longer than what is held back.
func LongJWT(w stream.Window) ([]stream.Match, stream.State) {
	start := w.At - len("eyJ")
	if string(w.B[start:w.At]) != "eyJ" || start > 0 && urlSafe(w.B[start-1]) {
		return nil, stream.No
	}
	end := w.At
	for end < len(w.B) && urlSafe(w.B[end]) {
		end++
	}
	if end == len(w.B) && !w.Ended() {
		return nil, stream.More
	}
	if end-start <= stream.WordHeld || end == len(w.B) && !w.Cap || end < len(w.B) && w.B[end] != '.' || end < len(w.B) && !header(w.B[start:end]) {
		return nil, stream.No
	}
	for end < len(w.B) && (urlSafe(w.B[end]) || w.B[end] == '.') {
		end++
	}
	if end == len(w.B) && !w.Ended() {
		return nil, stream.More
	}
	return []stream.Match{{Start: int64(start), End: int64(end), Kind: "jwt", Group: Group}}, stream.Yes
}

func urlSafe(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == '-'
}

// header reports whether b is the header of a signed or encrypted token.
func header(b []byte) bool {
	if !bytes.HasPrefix(b, []byte("eyJ")) && !bytes.HasPrefix(b, []byte("ewog")) && !bytes.HasPrefix(b, []byte("eyAi")) {
		return false
	}
	raw, err := base64.RawURLEncoding.DecodeString(string(b))
	if err != nil {
		return false
	}
	var h struct{ Alg, Typ, Enc any }
	return json.Unmarshal(raw, &h) == nil && (h.Alg != nil || h.Typ != nil || h.Enc != nil)
}
