package tensorflow

import (
	"context"
	"strings"

	"github.com/modelwarden/warden/internal/format/wire"
)

// A scope is the nodes of one graph or function, whose names are their own.
type scope struct {
	w      *walker
	b      *body
	consts map[string]string // node -> its constant text
	alias  map[string]string // node that hands its first input on -> that input
	calls  []pending
}

// pending is a call whose inputs are resolved when the scope is known.
type pending struct {
	Call
	inputs []string
}

// passes are operators whose output is their first input.
var passes = map[string]bool{"Identity": true, "StopGradient": true, "Snapshot": true, "PlaceholderWithDefault": true, "Reshape": true, "EnsureShape": true}

func (s *scope) node(ctx context.Context, n wire.Field) error {
	w := s.w
	var op, name string
	var in []string
	err := w.each(ctx, n, func(f wire.Field) (err error) {
		switch f.Num {
		case 1:
			name, err = w.d.Text(f, short)
		case 2:
			op, err = w.d.Text(f, short)
		case 3:
			var t string
			if t, err = w.d.Text(f, short); w.room(len(t)) {
				in = append(in, t)
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	w.m.Nodes++
	u, known := w.m.Ops[op]
	switch {
	case !known && len(w.m.Ops) >= maxOps:
		w.full("different operators", maxOps)
	default:
		if !known {
			u.Start, u.End = n.Start, n.End
		}
		u.Count++
		w.m.Ops[op] = u
	}
	if err := s.keep(ctx, n, raw{name: name, op: op, in: in, start: n.Start, end: n.End}); err != nil {
		return err
	}
	switch {
	case op == "Const":
		return s.constant(ctx, n, name)
	case passes[op]:
		return s.pass(ctx, n, name)
	case EffectOf(op) != None:
		return s.call(ctx, n, op, name)
	}
	return nil
}

// constant keeps the text of a Const node.
func (s *scope) constant(ctx context.Context, n wire.Field, name string) error {
	return s.attributes(ctx, n, func(_ string, v wire.Field) error {
		if v.Num != 8 { // the tensor
			return nil
		}
		return s.w.each(ctx, v, func(f wire.Field) error {
			if f.Num != 8 { // its texts
				return nil
			}
			text, err := s.w.d.Text(f, maxText)
			if s.consts == nil {
				s.consts = map[string]string{}
			}
			if len(s.consts) < maxNames && s.consts[name] == "" {
				s.consts[name] = text
			}
			return err
		})
	})
}

// attributes calls visit for the fields of each attribute value of a node.
func (s *scope) attributes(ctx context.Context, n wire.Field, visit func(key string, value wire.Field) error) error {
	return s.w.each(ctx, n, func(f wire.Field) error {
		if f.Num != 5 {
			return nil
		}
		key := ""
		return s.w.each(ctx, f, func(f wire.Field) (err error) {
			switch f.Num {
			case 1:
				key, err = s.w.d.Text(f, short)
			case 2:
				err = s.w.each(ctx, f, func(v wire.Field) error { return visit(key, v) })
			}
			return err
		})
	})
}

func (s *scope) pass(ctx context.Context, n wire.Field, name string) error {
	return s.w.each(ctx, n, func(f wire.Field) error {
		if f.Num != 3 {
			return nil
		}
		in, err := s.w.d.Text(f, short)
		if s.alias == nil {
			s.alias = map[string]string{}
		}
		if len(s.alias) < maxNames && s.alias[name] == "" {
			s.alias[name] = in
		}
		return err
	})
}

// maxTexts bounds the texts that are kept of one call.
const maxTexts = 16

func (s *scope) call(ctx context.Context, n wire.Field, op, name string) error {
	if len(s.calls)+len(s.w.m.Calls) >= s.w.lim.Members {
		s.w.full("nodes that touch files", s.w.lim.Members)
		return nil
	}
	c := pending{Call: Call{Op: op, Name: name, Start: n.Start, End: n.End}}
	err := s.w.each(ctx, n, func(f wire.Field) error {
		if f.Num != 3 || len(c.inputs) >= maxTexts {
			return nil
		}
		in, err := s.w.d.Text(f, short)
		c.inputs = append(c.inputs, in)
		return err
	})
	if err != nil {
		return err
	}
	keep := func(f wire.Field) error {
		if len(c.Texts) >= maxTexts {
			return nil
		}
		text, err := s.w.d.Text(f, maxText)
		c.Texts = append(c.Texts, text)
		return err
	}
	err = s.attributes(ctx, n, func(key string, v wire.Field) error {
		if strings.HasPrefix(key, "_") || key == "container" || key == "shared_name" || key == "end" {
			return nil
		}
		switch v.Num {
		case 2:
			return keep(v)
		case 1:
			return s.w.each(ctx, v, func(f wire.Field) error {
				if f.Num != 2 {
					return nil
				}
				return keep(f)
			})
		}
		return nil
	})
	s.calls = append(s.calls, c)
	return err
}

// resolve gives the calls of a scope their constants and hands them over.
func (s *scope) resolve() {
	for _, c := range s.calls {
		for _, in := range c.inputs {
			name := bare(in)
			for range 16 {
				next, ok := s.alias[name]
				if !ok {
					break
				}
				name = bare(next)
			}
			if text, ok := s.consts[name]; ok && text != "" && !strings.HasPrefix(in, "^") {
				c.Texts = append(c.Texts, text)
			}
		}
		s.w.m.Calls = append(s.w.m.Calls, c.Call)
	}
	s.calls = nil
}

// bare returns the node that an input names: "node", "node:1", "node:out:0".
func bare(input string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(input, "^"), ":")
	return name
}
