package recognise

import (
	"slices"
	"strconv"
	"strings"

	"github.com/modelwarden/warden/internal/source/flow"
	"github.com/modelwarden/warden/internal/source/sight"
	"github.com/modelwarden/warden/internal/source/syntax"
)

// a call is a site with one of its callees.
type call struct {
	index int
	site  flow.Site
	path  string // the callee's resolved name
	made  int    // the site that made the object; -1 if none
	row   *row
}

// a text is one resolved value of a slot.
type text struct {
	s       string
	from    sight.Place // where it is written
	one     bool        // it is one of several in a collection
	open    bool        // a part of it is not known; "*" stands there
	dynamic bool        // it is not resolved at all: s is the expression
	value   flow.Value
}

// a slot is what the alternatives of a row's field gave.
type slot struct {
	texts   []text
	present bool // something was passed
	unknown bool // it can be something else besides
	mixed   bool // also numbers or truths reach it: values of other arguments came along
}

// first returns the first resolved text, or "".
func (s slot) first() string {
	for _, t := range s.texts {
		if !t.dynamic && !t.open {
			return t.s
		}
	}
	return ""
}

// read evaluates the alternatives of a field, the first present one counts.
func (m *matcher) read(c *call, field string) slot {
	for alt := range strings.SplitSeq(field, "|") {
		if alt == "" {
			continue
		}
		if s := m.readOne(c, alt); s.present {
			return s
		}
	}
	return slot{}
}

func (m *matcher) readOne(c *call, alt string) slot {
	at := func(s string) slot {
		return slot{present: true, texts: []text{{s: s, from: m.place(c.site.Unit, c.site.Node, "")}}}
	}
	parts := segments(c.path)
	switch {
	case strings.HasPrefix(alt, "="):
		return at(alt[1:])
	case alt == "last" && len(parts) > 0:
		return at(parts[len(parts)-1])
	case alt == "class" && len(parts) > 0:
		return at(className(parts))
	case alt == "before" && len(parts) > 1:
		return at(parts[len(parts)-2])
	case alt == "assigned":
		if n := m.assigned(c); n != "" {
			return at(n)
		}
		return slot{}
	case alt == "decorated":
		return slot{} // by the decorators' own pass
	case strings.HasPrefix(alt, "part"):
		if i, err := strconv.Atoi(alt[4:]); err == nil && i < len(parts) {
			return at(parts[i])
		}
		return slot{}
	case strings.HasPrefix(alt, "env:"):
		return m.environment(alt[4:])
	case strings.HasPrefix(alt, "set:"):
		return m.attribute(c, alt[4:])
	case strings.HasPrefix(alt, "members:"):
		return m.argument(c, alt[len("members:"):], true)
	}
	return m.argument(c, alt, false)
}

// segments splits a resolved name at its dots, calls left out.
func segments(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '.' || r == '(' || r == ')' || r == '/' })
}

// className is the last part that begins with a capital, or the last.
func className(parts []string) string {
	for _, p := range slices.Backward(parts) {
		if p[0] >= 'A' && p[0] <= 'Z' {
			return p
		}
	}
	return parts[len(parts)-1]
}

// argument evaluates kw:name.member.member and arg0.member.member.
func (m *matcher) argument(c *call, alt string, every bool) slot {
	set, ok, rest := m.passed(c, alt)
	if !ok {
		return slot{}
	}
	var out slot
	if !ok || len(set.Values) == 0 {
		return slot{present: true, unknown: true, texts: m.expression(c, alt)}
	}
	out.present, out.unknown = true, set.Unknown
	found := m.walk(set.Values, rest, every, 0)
	if len(rest) > 0 && len(found) == 0 {
		if texts := m.expression(c, alt); len(texts) > 0 { // it is there, and nothing is known of it
			return slot{present: true, unknown: true, texts: texts}
		}
		return slot{}
	}
	for _, v := range found {
		m.collect(c, v, &out, false, 0)
	}
	if len(out.texts) == 0 && out.unknown {
		out.texts = m.expression(c, alt)
	}
	return out
}

// passed returns what an argument can be, and the members that are asked of it.
func (m *matcher) passed(c *call, alt string) (flow.Set, bool, []string) {
	head, tail, more := strings.Cut(alt, ".")
	var rest []string
	if more {
		rest = strings.Split(tail, ".")
	}
	if name, ok := strings.CutPrefix(head, "kw:"); ok {
		if set, found := m.g.Argument(c.index, -1, name); found {
			return set, true, rest
		}
		if c.row == nil || c.row.In == "" {
			return flow.Set{}, false, nil
		}
		// The arguments in a member, as model_kwargs={"trust_remote_code": True}.
		var in flow.Set
		var found bool
		inner, place, isArg := strings.Cut(c.row.In, "arg")
		if isArg && inner == "" {
			set, ok, rest := m.passed(c, "arg"+place)
			in, found = flow.Set{Values: m.walk(set.Values, rest, false, 0), Unknown: set.Unknown}, ok
		} else {
			in, found = m.g.Argument(c.index, -1, strings.TrimPrefix(c.row.In, "kw:"))
		}
		if !found {
			return flow.Set{}, false, nil
		}
		var got flow.Set
		ok := false
		for _, v := range in.Values {
			for _, k := range m.members(v) {
				if k.Known && k.Key == name {
					got.Values, got.Unknown, ok = append(got.Values, k.Value.Values...), got.Unknown || k.Value.Unknown, true
				}
			}
		}
		return got, ok, rest
	}
	if n, err := strconv.Atoi(strings.TrimPrefix(head, "arg")); err == nil && strings.HasPrefix(head, "arg") {
		set, found := m.g.Argument(c.index, n, "")
		return set, found, rest
	}
	return flow.Set{}, false, nil
}

// walk goes down members of dicts; a list stands for each of its elements, and
// with every a dict, too, where it has no such key.
func (m *matcher) walk(vs []flow.Value, path []string, every bool, depth int) []flow.Value {
	if len(path) == 0 || depth > 8 {
		return vs
	}
	var out []flow.Value
	for _, v := range vs {
		if v.Kind != flow.Dict && v.Kind != flow.List && v.Kind != flow.Object {
			continue
		}
		members := m.members(v)
		hit := false
		for _, k := range members {
			switch {
			case v.Kind == flow.List:
				out = append(out, m.walk(k.Value.Values, path, every, depth+1)...)
			case k.Known && k.Key == path[0]: //nolint:gosec // path is not empty here
				hit = true
				out = append(out, m.walk(k.Value.Values, path[1:], every, depth+1)...) //nolint:gosec // as above
			}
		}
		if !hit && every && v.Kind == flow.Dict {
			for _, k := range members {
				out = append(out, m.walk(k.Value.Values, path, every, depth+1)...)
			}
		}
	}
	return out
}

// collect makes texts of a value; the elements of a collection are alternatives.
func (m *matcher) collect(c *call, v flow.Value, out *slot, one bool, depth int) {
	switch v.Kind {
	case flow.String, flow.Pattern:
		out.texts = append(out.texts, text{s: v.Text, from: m.origin(c, v), one: one, open: v.Kind == flow.Pattern, value: v})
	case flow.Bool, flow.Number:
		out.mixed = true
	case flow.List:
		if depth < 3 {
			for _, k := range m.members(v) {
				for _, e := range k.Value.Values {
					m.collect(c, e, out, true, depth+1)
				}
			}
		}
	case flow.None:
	default:
		out.unknown = true
	}
}

// origin is where a value is written, and the way it came from there.
func (m *matcher) origin(c *call, v flow.Value) sight.Place {
	via := ""
	for _, s := range v.Steps {
		if s.Via != flow.Literal && s.Via != flow.Folded && s.Via != flow.Returned && !strings.Contains(via, string(s.Via)) {
			if via != "" {
				via += ", "
			}
			via += string(s.Via)
		}
	}
	for _, s := range v.Steps {
		if s.Node != nil && s.Unit >= 0 {
			return m.place(s.Unit, s.Node, via)
		}
		if s.File != "" {
			return m.at(s.File, s.Line, "", via)
		}
	}
	return m.place(c.site.Unit, c.site.Node, via)
}

// expression is the source of an argument that is not resolved.
func (m *matcher) expression(c *call, alt string) []text {
	n := argumentNode(c.site.Node, alt)
	if n == nil {
		return nil
	}
	u := m.g.Units()[c.site.Unit]
	return []text{{s: sight.Snippet(oneLine(u.File.Text(n))), dynamic: true, from: m.place(c.site.Unit, n, "")}}
}

func oneLine(s string) string {
	if len(s) > 400 {
		s = s[:400]
	}
	return strings.Join(strings.Fields(s), " ")
}

// argumentNode finds the node of an argument that is written at the call.
func argumentNode(n *syntax.Node, alt string) *syntax.Node {
	if n == nil || n.Kind != syntax.Call || len(n.Kids) == 0 {
		return nil
	}
	head, tail, more := strings.Cut(alt, ".")
	if more {
		n = argumentNode(n, head)
		if n != nil && n.Kind == syntax.Keyword {
			n = n.Kid(0)
		}
		for key := range strings.SplitSeq(tail, ".") {
			n = memberNode(n, key)
		}
		return n
	}
	name, isKW := strings.CutPrefix(head, "kw:")
	at, _ := strconv.Atoi(strings.TrimPrefix(head, "arg"))
	i := 0
	for _, k := range n.Kids[1:] {
		if k == nil {
			continue
		}
		if k.Kind == syntax.Keyword {
			if isKW && k.Text == name {
				return k
			}
			continue
		}
		if !isKW && i == at {
			return k
		}
		i++
	}
	return nil
}

// memberNode finds a member that an object literal writes out.
func memberNode(n *syntax.Node, key string) *syntax.Node {
	if n == nil || n.Kind != syntax.Dict {
		return nil
	}
	for i := 0; i+1 < len(n.Kids); i += 2 {
		if k := n.Kids[i]; k != nil && k.Kind == syntax.String && k.Text == key {
			return n.Kids[i+1]
		}
	}
	return nil
}

// environment reads a variable that deployments set.
func (m *matcher) environment(name string) slot {
	var out slot
	for _, v := range m.in.Env[name] {
		out.present = true
		p := v.At
		p.Via = string(flow.Environment)
		out.texts = append(out.texts, text{s: v.Value, from: p})
	}
	return out
}

// attribute reads what is assigned to an attribute of a package, such as
// openai.api_base = "…", in the same file.
func (m *matcher) attribute(c *call, name string) slot {
	u := m.g.Units()[c.site.Unit]
	var out slot
	for _, top := range u.File.Body {
		syntax.Walk(top, func(n *syntax.Node) bool {
			if n.Kind != syntax.Assign || len(n.Kids) < 2 {
				return true
			}
			for _, t := range n.Kids[:len(n.Kids)-1] {
				if t.Kind == syntax.Attr && syntax.Dotted(t) == name {
					for _, v := range m.g.Values(c.site.Unit, n.Kids[len(n.Kids)-1]).Values {
						out.present = true
						m.collect(c, v, &out, false, 0)
					}
				}
			}
			return true
		})
	}
	return out
}

// assigned is the name that the result of a call gets: x = Agent(…).
func (m *matcher) assigned(c *call) string {
	u := m.g.Units()[c.site.Unit]
	name := ""
	for _, top := range u.File.Body {
		if c.site.Node.Start < top.Start || c.site.Node.End > top.End {
			continue
		}
		syntax.Walk(top, func(n *syntax.Node) bool {
			if name != "" || n.End < c.site.Node.Start || n.Start > c.site.Node.Start {
				return n.Kind == syntax.Block
			}
			if n.Kind == syntax.Dict {
				for i := 0; i+1 < len(n.Kids); i += 2 {
					if k := n.Kids[i]; n.Kids[i+1] == c.site.Node && k != nil && k.Kind == syntax.String {
						name = k.Text
					}
				}
			}
			if n.Kind == syntax.Assign && len(n.Kids) == 2 && n.Kids[1] == c.site.Node {
				switch t := n.Kids[0]; t.Kind {
				case syntax.Name, syntax.Attr:
					name = t.Text
				default:
				}
			}
			return true
		})
	}
	return name
}

// members returns what a list or dict holds, as far as it is known.
func (m *matcher) members(v flow.Value) []flow.Keyed {
	out, _ := m.g.Members(v)
	return out
}
