package pii

import (
	"bytes"

	"github.com/modelwarden/warden/internal/text/stream"
)

// MRZCap is how many bytes after the first filler may decide.
const MRZCap = 200

// MRZ decides after "<<" about the machine-readable lines of a travel document.
//
// Source: ICAO Doc 9303, parts 3 to 6.
func MRZ(w stream.Window) ([]stream.Match, stream.State) {
	b := w.B
	start := w.At
	for start > w.Lo && machine(b[start-1]) {
		start--
	}
	if w.At-start < 7 || bytes.IndexByte([]byte("PIACV"), b[start]) < 0 || bytes.Contains(b[start:w.At-1], []byte("<<")) {
		return nil, stream.No
	}
	var lines [][]byte
	i := start
	for len(lines) < 3 {
		from := i
		for i < len(b) && machine(b[i]) {
			i++
		}
		if i == len(b) && !w.Ended() {
			return nil, stream.More
		}
		if i == from {
			break
		}
		lines = append(lines, b[from:i])
		if n := len(lines[0]); len(lines) == 2 && n != 30 || n != 44 && n != 36 && n != 30 || len(lines[len(lines)-1]) != n {
			break
		}
		end := i
		for i < len(b) && i-end < 3 && (b[i] == '\r' || b[i] == '\n' || b[i] == ' ') {
			i++
		}
		if i == len(b) && !w.Ended() && len(lines) < 3 {
			return nil, stream.More
		}
	}
	if !valid(lines) {
		return nil, stream.No
	}
	end := start
	for n, l := range lines {
		end = start + bytes.Index(b[start:], l) + len(l)
		if n > 0 {
			end = bytes.LastIndex(b[:i], l) + len(l)
		}
	}
	return []stream.Match{match(start, end, "mrz", 0)}, stream.Yes
}

func machine(c byte) bool { return c >= 'A' && c <= 'Z' || isDigit(c) || c == '<' }

func valid(l [][]byte) bool {
	check := func(digit byte, parts ...[]byte) bool {
		sum, i := 0, 0
		for _, p := range parts {
			for _, c := range p {
				v := 0
				switch {
				case isDigit(c):
					v = int(c - '0')
				case c != '<':
					v = int(c-'A') + 10
				}
				sum += v * []int{7, 3, 1}[i%3]
				i++
			}
		}
		return byte('0'+sum%10) == digit || digit == '<' && sum%10 == 0
	}
	switch {
	case len(l) == 2 && len(l[0]) == len(l[1]) && (len(l[0]) == 44 || len(l[0]) == 36):
		s, n := l[1], len(l[1])
		return check(s[9], s[:9]) && check(s[19], s[13:19]) && check(s[27], s[21:27]) && check(s[n-1], s[:10], s[13:20], s[21:n-1])
	case len(l) == 3 && len(l[0]) == 30 && len(l[1]) == 30 && len(l[2]) == 30:
		a, s := l[0], l[1]
		return check(a[14], a[5:14]) && check(s[6], s[:6]) && check(s[14], s[8:14]) && check(s[29], a[5:30], s[:7], s[8:15], s[18:29])
	}
	return false
}
