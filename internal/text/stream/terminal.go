package stream

// Terminal returns a recogniser, called at the escape character, of sequences
// that move, write or run something in a terminal.
//
// Source: ECMA-48.
func Terminal(kind string, group int) Recogniser {
	return Recogniser{Cap: 4096, Run: func(w Window) ([]Match, State) {
		b, i := w.B, w.At+1
		match := func(end int) ([]Match, State) {
			return []Match{{Start: int64(w.At), End: int64(end), Kind: kind, Group: group, Text: "␛"}}, Yes
		}
		if i == len(b) {
			if !w.Ended() {
				return nil, More
			}
			return match(i)
		}
		switch b[i] {
		case '[': // control sequence
			for i++; i < len(b) && b[i] >= 0x20 && b[i] <= 0x3f; {
				i++
			}
			if i < len(b) && b[i] >= 0x40 && b[i] <= 0x7e {
				i++
			} else if i == len(b) && !w.Ended() {
				return nil, More
			}
			return match(i)
		case ']', 'P', 'X', '^', '_': // strings, up to their terminator
			for i++; i < len(b); i++ {
				switch {
				case b[i] == '\a':
					return match(i + 1)
				case b[i] == 0x1b && i+1 < len(b) && b[i+1] == '\\':
					return match(i + 2)
				case b[i] == 0x1b && (i+1 < len(b) || w.Ended()), b[i] == '\n':
					return match(i)
				}
			}
			if !w.Ended() {
				return nil, More
			}
			return match(i)
		}
		return match(i + 1)
	}}
}
