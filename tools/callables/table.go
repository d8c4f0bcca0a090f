package main

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
)

// A row is a line of the table.
type row struct {
	kind   string // function, class
	tier   string // dangerous, reaches, builds, inert, new
	effect string
	reason string
	trees  []string
}

// A table collects the rows of all worlds.
type table struct {
	rows map[string]*row
	mute map[string]bool // classes that are not inert somewhere
	hand *handTable
}

func newTable(h *handTable) *table {
	return &table{rows: map[string]*row{}, mute: map[string]bool{}, hand: h}
}

// A handTable is what people wrote: the generator adds nothing there.
type handTable struct {
	exact    map[string]string // name to tier
	prefixes map[string]string // with the dot at the end
}

func readHand(name string) (*handTable, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	h := &handTable{map[string]string{}, map[string]string{}}
	for line := range strings.Lines(string(text)) {
		c := strings.Split(line, "\t")
		if len(c) < 4 || line[0] == '#' {
			continue
		}
		if p, ok := strings.CutSuffix(c[0], "*"); ok {
			h.prefixes[p] = c[2]
		} else {
			h.exact[c[0]] = c[2]
		}
	}
	return h, nil
}

// covered says what the table written by hand already tells of a name.
func (h *handTable) covered(name string) (tier string, exact bool) {
	if t, ok := h.exact[name]; ok {
		return t, true
	}
	for end := len(name); end > 0; end = strings.LastIndexByte(name[:end], '.') {
		if t, ok := h.prefixes[name[:end]+"."]; ok {
			return t, false
		}
	}
	return "", false
}

// take adds the rows of a world.
func (t *table) take(w *world) {
	for _, f := range w.funcs {
		if f.class != nil && strings.Count(f.name[len(f.class.name):], ".") != 1 || w.special(f) {
			continue
		}
		if r := worst(f, false); r != nil {
			t.add(f.name, f.mod.tree, r)
		}
	}
	t.exports(w)
	for _, c := range w.classes {
		built, called, _ := w.inert(c)
		var r *row
		if f := w.method(c, "__setstate__", nil); f != nil {
			if r = worst(f, true); r == nil {
				r = w.dispatched(c, f, 0)
			}
		}
		if f := w.method(c, "__new__", nil); r == nil && f != nil {
			r = worst(f, true)
		}
		if r != nil {
			r.tier = "builds"
		} else if f := w.method(c, "__init__", nil); f != nil {
			r = worst(f, true)
		}
		switch {
		case r != nil:
			r.kind = "class"
			t.add(c.name, c.mod.tree, r)
			if r.tier == "builds" || !built {
				t.mute[c.name] = true
			}
		case built && called:
			t.add(c.name, c.mod.tree, &row{kind: "class", tier: "inert", effect: "-", reason: "-"})
		case built:
			t.add(c.name, c.mod.tree, &row{kind: "class", tier: "new", effect: "-", reason: "-"})
		default:
			t.mute[c.name] = true
		}
	}
}

// exports adds the functions that packages offer under a second name.
func (t *table) exports(w *world) {
	for _, m := range w.modules {
		if !m.pkg {
			continue
		}
		for local := range m.names {
			name := m.name + "." + local
			e, ok := w.member(m, local, 0)
			if !ok || e.name == name {
				continue
			}
			s, sunk := w.sinks[e.name]
			if sunk && s.effect == "stop" {
				continue
			}
			if sunk && severe[s.effect] {
				t.add(name, m.tree, &row{kind: "function", tier: "dangerous", effect: s.effect, reason: e.name})
			} else if e.fn != nil && e.fn.class == nil {
				if r := worst(e.fn, false); r != nil && r.tier == "dangerous" {
					r.reason = e.name
					t.add(name, m.tree, r)
				}
			}
		}
	}
}

// dispatched looks at what the methods that f calls on its object are in c,
// where they may differ from those of the class of f.
func (w *world) dispatched(c *class, f *function, depth int) *row {
	for _, call := range f.calls {
		if call.kind != bySelf {
			continue
		}
		m := w.method(c, call.name, nil)
		if m == nil || m == f {
			continue
		}
		if r := worst(m, true); r != nil && m.reach[r.effect].from&bit(0) != 0 {
			r.reason = short(m.name) + " > " + r.reason
			return r
		}
		if depth < 3 {
			if r := w.dispatched(c, m, depth+1); r != nil {
				return r
			}
		}
	}
	return nil
}

// special reports whether f is a method that a row of its class tells about.
func (w *world) special(f *function) bool {
	return f.class != nil && (strings.HasSuffix(f.name, ".__init__") || strings.HasSuffix(f.name, ".__new__") || f.getter)
}

// far is how many calls away an effect may be to count as dangerous: behind
// more, rough flow proves nothing.
var far = map[string]int{"shell": 5, "spawn": 5, "code": 4, "native": 3, "process": 3, "net": 3, "write": 3, "delete": 3, "load": 2, "import": 2, "lookup": 1, "codeobj": 1}

// worst returns the row of a function, or nil.
func worst(f *function, class bool) *row {
	for _, effect := range effects {
		r, ok := f.reach[effect]
		if !ok || r.from == 0 || r.far > far[effect] || class && (effect == "load" || effect == "import" || effect == "lookup" || effect == "codeobj") {
			continue
		}
		return &row{kind: "function", tier: "dangerous", effect: effect, reason: f.path(effect)}
	}
	if class {
		return nil
	}
	for _, effect := range effects[:3] {
		if r, ok := f.reach[effect]; ok && r.far <= 1 {
			return &row{kind: "function", tier: "reaches", effect: effect, reason: f.path(effect)}
		}
	}
	return nil
}

var tierRank = map[string]int{"inert": 0, "new": 1, "reaches": 2, "dangerous": 3, "builds": 4}

// add keeps the worse of two rows about one name.
func (t *table) add(name, tree string, r *row) {
	old := t.rows[name]
	if old == nil {
		r.trees = []string{tree}
		t.rows[name] = r
		return
	}
	if !slices.Contains(old.trees, tree) {
		old.trees = append(old.trees, tree)
	}
	if tierRank[r.tier] > tierRank[old.tier] {
		old.kind, old.tier, old.effect, old.reason = r.kind, r.tier, r.effect, r.reason
	}
}

// write puts the rows that tell something new into a file, sorted by name.
func (t *table) write(name string, list []tree, log io.Writer) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	var head, body strings.Builder
	head.WriteString("# Code generated by tools/callables; DO NOT EDIT.\n" +
		"# name, kind, tier, effect, way to it, trees; sorted by name, so that it can be searched without reading it first.\n" +
		"# tiers: inert (building or calling it runs nothing), new (building it by __new__ and giving it state runs nothing),\n" +
		"# reaches (calling it comes to the effect), dangerous (and the arguments decide what happens there),\n" +
		"# builds (so too when it is built by __new__ and given state).\n")
	id := map[string]string{}
	for _, tr := range list {
		key := tr.name + " " + tr.version
		if id[key] == "" {
			id[key] = fmt.Sprintf("%x", len(id))
			fmt.Fprintf(&head, "# %s\t%s\t%s\t%s\n", id[key], tr.name, tr.version, tr.origin)
		}
	}
	count := map[string]int{}
	for _, key := range slices.Sorted(maps.Keys(t.rows)) {
		r := t.rows[key]
		tier, exact := t.hand.covered(key)
		switch {
		case exact:
			count["told by hand"]++
			continue
		case r.tier == "inert" || r.tier == "new":
			if t.mute[key] || tier == "dangerous" {
				continue
			}
		case tier == "dangerous":
			count["below a prefix told by hand"]++
			continue
		}
		count[r.tier]++
		var ids []string
		for _, tr := range r.trees {
			ids = append(ids, id[tr])
		}
		fmt.Fprintf(&body, "%s\t%s\t%s\t%s\t%s\t%s\n", key, r.kind, r.tier, r.effect, r.reason, strings.Join(ids, ","))
	}
	for _, k := range slices.Sorted(maps.Keys(count)) {
		fmt.Fprintf(log, "%s: %d\n", k, count[k])
	}
	fmt.Fprintf(w, "# sha256:%x of the lines that are no comments\n%s%s", sha256.Sum256([]byte(body.String())), head.String(), body.String())
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Close()
}
