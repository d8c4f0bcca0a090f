package main

import "strings"

// severe effects are worth telling even if nothing of the caller flows there.
var severe = set("shell spawn code native process")

// strongest first: of several effects the first one names a function.
var effects = [...]string{"shell", "spawn", "code", "native", "process", "net", "write", "delete", "load", "import", "lookup", "codeobj"}

// maxFar bounds the calls between a function and what it reaches.
const maxFar = 8

// solve computes what every function reaches, until nothing changes.
func (w *world) solve() {
	queue := make([]*function, 0, len(w.funcs))
	queued := map[*function]bool{}
	for _, f := range w.funcs {
		f.reach = map[string]reached{}
		if s, ok := w.sinks[f.name]; ok && s.effect != "open" && s.effect != "stop" {
			f.reach[s.effect] = reached{from: sinkParams(f, s), via: f.name}
		}
		for _, c := range f.calls {
			fns, _, _ := w.callees(f, c)
			for _, g := range fns {
				g.callers = append(g.callers, f)
			}
		}
		queue = append(queue, f)
		queued[f] = true
	}
	for len(queue) > 0 {
		f := queue[0]
		queue = queue[1:]
		queued[f] = false
		if !w.update(f) {
			continue
		}
		for _, g := range f.callers {
			if !queued[g] {
				queued[g] = true
				queue = append(queue, g)
			}
		}
	}
}

func sinkParams(f *function, s sink) mask {
	var m mask
	for i, p := range f.params {
		for _, a := range s.args {
			if a == "*" || a == p || len(a) == 1 && int(a[0]-'0') == i {
				m |= bit(i)
			}
		}
	}
	return m
}

// update takes in what the calls of f reach now.
func (w *world) update(f *function) bool {
	changed := false
	for _, c := range f.calls {
		fns, bound, name := w.callees(f, c)
		if s, ok := w.sinks[name]; ok && len(fns) == 0 {
			effect, r, ok := s.hit(c)
			if ok {
				r.via = name
				changed = f.note(effect, r) || changed
			}
			continue
		}
		for _, g := range fns {
			for effect, r := range g.reach {
				if r.far+1 > maxFar || g == f {
					continue
				}
				m := bind(c, g, bound, r.from)
				if m == 0 && (!severe[effect] || r.from != 0 && constant(c)) {
					continue
				}
				mode, ok := c.passMode(g, bound, r.mode)
				if !ok {
					continue
				}
				changed = f.note(effect, reached{from: m, mode: mode, far: r.far + 1, via: r.via, next: g}) || changed
			}
		}
	}
	return changed
}

// constant reports whether a call hands over nothing but constants.
func constant(c call) bool {
	for _, a := range c.args {
		if !a.known {
			return false
		}
	}
	return true
}

// note keeps the widest flow and, of equal ones, the shortest way.
func (f *function) note(effect string, r reached) bool {
	old, ok := f.reach[effect]
	switch {
	case !ok, old.from == 0 && r.from != 0, old.mode != 0 && r.mode == 0 && r.from&^old.from == 0 && r.from != 0:
		f.reach[effect] = r
		return true
	case r.from&^old.from != 0:
		old.from |= r.from
		f.reach[effect] = old
		return true
	}
	return false
}

// hit says what the call of a sink does, and which parameters of the caller
// decide it.
func (s sink) hit(c call) (effect string, r reached, ok bool) {
	effect = s.effect
	if effect == "stop" {
		return "", r, false
	}
	for _, a := range s.args {
		r.from |= c.given(a)
	}
	if effect == "open" {
		mode := ""
		for i, a := range c.args {
			if a.name == "mode" || i == 1 && a.name == "" {
				mode, r.mode = a.text, a.from
			}
		}
		if r.mode == 0 && !strings.ContainsAny(mode, "wax+") {
			return "", r, false
		}
		effect = "write"
	}
	return effect, r, r.from != 0 || severe[effect] && !constant(c) || effect == "shell" || effect == "spawn"
}

// passMode follows the mode of a file that parameters of g decide: a caller
// that passes none, or one for reading, does not write.
func (c call) passMode(g *function, bound bool, mode mask) (mask, bool) {
	if mode == 0 {
		return 0, true
	}
	at := 0
	if bound && g.method {
		at = 1
	}
	var from mask
	for _, a := range c.args {
		into := -1
		switch {
		case a.star || a.name == "**":
			from |= a.from
			continue
		case a.name != "":
			for i, p := range g.params {
				if p == a.name {
					into = i
				}
			}
		default:
			into = at
			at++
		}
		if into < 0 || mode&bit(into) == 0 || into == 0 && g.method {
			continue
		}
		if a.known && strings.ContainsAny(a.text, "wax+") && len(a.text) <= 4 {
			return 0, true
		}
		from |= a.from
	}
	if g.method && mode&bit(0) != 0 { // the object holds it
		from |= c.recv
	}
	return from, from != 0
}

// given returns what the argument comes from that a row of sinks names.
func (c call) given(which string) mask {
	var m mask
	switch which {
	case "self":
		return c.recv
	case "*":
		m = c.recv
		for _, a := range c.args {
			m |= a.from
		}
		return m
	}
	for i, a := range c.args {
		switch {
		case a.star, a.name == "**", a.name == which, a.name == "" && len(which) == 1 && int(which[0]-'0') == i:
			m |= a.from
		}
	}
	return m
}

// bind returns the parameters of the caller that flow into those of g.
func bind(c call, g *function, bound bool, into mask) mask {
	var m mask
	at := 0
	if bound && g.method {
		if into&bit(0) != 0 {
			m |= c.recv
			if c.kind == byName { // a new object: it holds its arguments
				for _, a := range c.args {
					m |= a.from
				}
			}
		}
		at = 1
	}
	for _, a := range c.args {
		switch {
		case a.star || a.name == "**":
			if into != 0 {
				m |= a.from
			}
		case a.name != "":
			hit := false
			for i, p := range g.params {
				if p == a.name {
					hit = true
					if into&bit(i) != 0 {
						m |= a.from
					}
				}
			}
			if !hit && g.named >= 0 && into&bit(g.named) != 0 {
				m |= a.from
			}
		default:
			i := at
			if g.star >= 0 && i > g.star {
				i = g.star
			}
			if into&bit(i) != 0 {
				m |= a.from
			}
			at++
		}
	}
	return m
}

// path tells how f comes to an effect.
func (f *function) path(effect string) string {
	var parts []string
	for range 3 {
		r := f.reach[effect]
		if r.next == nil {
			break
		}
		parts = append(parts, short(r.next.name))
		f = r.next
	}
	return strings.Join(append(parts, f.reach[effect].via), " > ")
}

// short cuts a name to its last two parts.
func short(name string) string {
	i := strings.LastIndexByte(name, '.')
	if i < 0 {
		return name
	}
	if j := strings.LastIndexByte(name[:i], '.'); j >= 0 {
		return name[j+1:]
	}
	return name
}
