package overlap

import (
	"encoding/base64"
	"encoding/hex"
	"strings"

	"github.com/modelwarden/warden/internal/text/stream"
)

// A blob is a run of letters that may be another text, encoded.
type blob struct {
	start int64
	size  int    // bytes of the text, line ends among them
	text  []byte // without line ends
	line  int    // letters of the current line
	end   int64  // after the last letter
}

func coded(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '+' || c == '/' || c == '-' || c == '_' || c == '='
}

func (w *Watch) feedBlob(c byte) {
	b := &w.blob
	switch {
	case coded(c):
		if b.size == 0 {
			b.start, b.line = w.at, 0
		}
		b.size++
		b.line++
		b.end = w.at + 1
		b.text = append(b.text, c)
		if len(b.text) == blobMost {
			w.endBlob(w.at + 1)
		}
	case b.size > 0 && (c == '\n' || c == '\r') && (b.line >= lineLeast || b.line == 0):
		b.size++
		b.line = 0
	case b.size > 0:
		w.endBlob(w.at)
	}
}

// endBlob looks into a blob that is over.
func (w *Watch) endBlob(int64) {
	b := &w.blob
	if len(b.text) >= blobLeast {
		for _, t := range decode(string(b.text)) {
			inner := &Watch{p: w.p, covered: w.covered, blob: blob{}}
			for i := range len(t) {
				c := t[i]
				inner.at = int64(i)
				switch {
				case !isWord(c):
					if len(inner.word) > 0 {
						inner.endWord(inner.at)
					}
				case len(inner.word) == 0:
					inner.start = inner.at
					inner.word = append(inner.word, c)
				case len(inner.word) <= maxWord:
					inner.word = append(inner.word, c)
				}
			}
			if len(inner.word) > 0 {
				inner.endWord(inner.at + 1)
			}
			if inner.told {
				w.found = append(w.found, stream.Match{Start: b.start, End: b.end, Kind: "fingerprint", Group: FingerprintGroup, Note: "encoded"})
				w.told = true
				break
			}
		}
	}
	*b = blob{text: b.text[:0]}
}

// decode returns what s may mean in base64 or hexadecimal.
func decode(s string) []string {
	var out []string
	if raw, err := hex.DecodeString(s); err == nil {
		out = append(out, string(raw))
	}
	plain := strings.NewReplacer("-", "+", "_", "/", "=", "").Replace(s)
	if len(plain)%4 == 1 {
		plain = plain[:len(plain)-1]
	}
	if raw, err := base64.RawStdEncoding.DecodeString(plain); err == nil {
		out = append(out, string(raw))
	}
	return out
}

// A canary is looked for in letters and digits alone, whatever lies between
// them: as it is, reversed, in ROT13, hexadecimal and base64.
//
// Source: Knuth, Morris and Pratt, "Fast pattern matching in strings", 1977.
type canary struct {
	words []pattern
	last  []int64 // places of the last letters, the newest at turn-1
	turn  int
	gap   int
}

type pattern struct {
	text string
	fail []int
	at   int
}

// maxGap is how many other characters in a row may lie in a canary.
const maxGap = 8

func newCanary(word string) *canary {
	if word == "" {
		return nil
	}
	c := &canary{}
	small := strings.ToLower(word)
	forms := []string{small, reverse(small), rot13(small), hex.EncodeToString([]byte(word)), hex.EncodeToString([]byte(small))}
	for shift := range 3 { // base64 of the word at each place in a group, less the letters that its neighbours share
		enc := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("\x00", shift) + word))
		from := []int{0, 2, 3}[shift]
		to := (len(word) + shift) / 3 * 4
		forms = append(forms, strings.ToLower(enc[from:max(from, to)]))
	}
	longest := 0
	for _, f := range forms {
		f = strings.Map(func(r rune) rune {
			if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
				return r
			}
			return -1
		}, f)
		if len(f) < 4 {
			continue
		}
		p := pattern{text: f, fail: make([]int, len(f)+1)}
		p.fail[0] = -1
		for i, j := 0, -1; i < len(f); {
			for j >= 0 && f[i] != f[j] {
				j = p.fail[j]
			}
			i++
			j++
			p.fail[i] = j
		}
		c.words = append(c.words, p)
		longest = max(longest, len(f))
	}
	c.last = make([]int64, longest+1)
	return c
}

func (c *canary) feed(b byte, at int64, found []stream.Match) []stream.Match {
	if !isWord(b) || b >= 0x80 {
		if c.gap++; c.gap > maxGap {
			for i := range c.words {
				c.words[i].at = 0
			}
		}
		return found
	}
	c.gap = 0
	if b >= 'A' && b <= 'Z' {
		b += 'a' - 'A'
	}
	c.last[c.turn%len(c.last)] = at
	c.turn++
	for i := range c.words {
		p := &c.words[i]
		for p.at >= 0 && (p.at == len(p.text) || p.text[p.at] != b) {
			p.at = p.fail[p.at]
		}
		p.at++
		if p.at == len(p.text) {
			found = append(found, stream.Match{Start: c.begin(p.at), End: at + 1, Kind: "canary", Group: CanaryGroup})
		}
	}
	return found
}

// begin returns the place of the letter so many letters ago.
func (c *canary) begin(letters int) int64 {
	return c.last[(c.turn-letters)%len(c.last)]
}

func (c *canary) open(at int64) int64 {
	for i := range c.words {
		if p := &c.words[i]; p.at > 0 && p.at < len(p.text) {
			at = min(at, c.begin(p.at))
		}
	}
	return at
}
