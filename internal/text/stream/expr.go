package stream

import "regexp"

// Expressions returns a recogniser that is called after a word and looks for any
// of the expressions around it: in what is shown before the word, the word, and
// what ahead names after it: nothing, the "word" that follows, or the rest of the
// "line". A match has the end of the word in it or ends there.
func Expressions(any []*regexp.Regexp, kind string, group int, ahead string) Recogniser {
	return Recogniser{Run: func(w Window) ([]Match, State) {
		end := w.At
		switch ahead {
		case "line":
			for end < len(w.B) && w.B[end] != '\n' {
				end++
			}
		case "word":
			for end < len(w.B) && (w.B[end] == ' ' || w.B[end] == '"' || w.B[end] == '\'') {
				end++
			}
			for end < len(w.B) && w.B[end] > ' ' && w.B[end] != '"' && w.B[end] != '\'' && w.B[end] != '`' {
				end++
			}
		}
		if ahead != "" && end == len(w.B) && !w.Ended() {
			return nil, More
		}
		for _, re := range any {
			for _, m := range re.FindAllIndex(w.B[:end], -1) {
				if m[0] < w.At && m[1] >= w.At {
					return []Match{{Start: int64(m[0]), End: int64(m[1]), Kind: kind, Group: group}}, Yes
				}
			}
		}
		return nil, No
	}}
}
