// Package tensorflow walks TensorFlow graphs as raw protobuf: SavedModel,
// MetaGraphDef, GraphDef and the Keras metadata beside them. It lists the
// operators of every graph and function and the constant texts that reach those
// operators which touch what is outside the graph. Tensor data is passed over.
//
// Source: saved_model.proto, meta_graph.proto, graph.proto, function.proto and
// saved_object_graph.proto of TensorFlow 2.18.
package tensorflow

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format/bound"
	"github.com/modelwarden/warden/internal/format/graph"
	"github.com/modelwarden/warden/internal/format/wire"
)

// The kinds of file.
const (
	SavedModel = "savedmodel"
	MetaGraph  = "metagraph"
	GraphDef   = "graphdef"
	Metadata   = "keras-metadata"
)

// A Use says where an operator is used first, and how often.
type Use struct {
	Start, End int64
	Count      int
}

// A Call is a node whose operator touches what is outside the graph.
type Call struct {
	Op, Name   string
	Texts      []string // constants among its inputs, and texts among its attributes
	Start, End int64
}

// A Text is a text of the file and its place.
type Text struct {
	Value      string
	Start, End int64
}

// A Model is what the graphs of one file use.
type Model struct {
	Ops       map[string]Use
	Functions map[string]bool
	Calls     []Call
	Assets    []Text // names of files beside the model
	Keras     []Text // configurations, as JSON
	Nodes     int
	Graphs    []*graph.Model // how nodes are connected: the graph itself, then functions that nothing calls
}

const (
	maxOps   = 10_000 // distinct operators kept
	maxNames = 65_536 // constant texts and aliases kept of one graph
	maxText  = 256    // bytes kept of a constant
	short    = 1024   // bytes kept of a name
	maxSniff = 10_000 // fields looked at in a file of another name
)

// errFull ends a walk that has seen enough.
var errFull = errors.New("enough")

// Sniff returns the kinds for which some loader would take the file: those under
// which it has nodes. A file may be several, since fields of another type are
// passed over by every reader of protobuf. A file that is named like a graph is
// looked through to its end, so that no padding hides one, and may break off;
// others are looked at for a while.
func Sniff(ctx context.Context, r io.ReaderAt, size int64, named bool) (kinds []string) {
	most := maxSniff
	if named {
		most = math.MaxInt
	}
	d := wire.NewReader(r, size)
	for _, kind := range []string{SavedModel, MetaGraph, GraphDef, Metadata} {
		s := &sniffer{d: d, most: most}
		err := s.d.Each(ctx, 0, size, func(f wire.Field) error {
			if s.fields++; s.fields > most {
				return errFull
			}
			if f.Type == wire.Bytes && !s.found {
				s.top(ctx, kind, f)
			}
			return nil
		})
		if s.found && (err == nil || named || errors.Is(err, errFull)) {
			kinds = append(kinds, kind)
		}
	}
	return kinds
}

type sniffer struct {
	d      *wire.Reader
	fields int
	most   int
	found  bool
}

// in looks into a nested message. What is not one holds nothing.
func (s *sniffer) in(ctx context.Context, f wire.Field, visit func(wire.Field)) {
	_ = s.d.Each(ctx, f.Start, f.End, func(f wire.Field) error {
		if s.fields++; s.found || s.fields > s.most {
			return errFull
		}
		if f.Type == wire.Bytes {
			visit(f)
		}
		return nil
	})
}

func (s *sniffer) top(ctx context.Context, kind string, f wire.Field) {
	switch {
	case kind == SavedModel && f.Num == 2:
		s.in(ctx, f, func(f wire.Field) { s.top(ctx, MetaGraph, f) })
	case kind == MetaGraph && f.Num == 2:
		s.in(ctx, f, func(f wire.Field) { s.top(ctx, GraphDef, f) })
	case kind == GraphDef && f.Num == 1:
		s.node(ctx, f)
	case kind == GraphDef && f.Num == 2:
		s.in(ctx, f, func(fn wire.Field) {
			if fn.Num == 1 {
				s.in(ctx, fn, func(n wire.Field) {
					if n.Num == 3 {
						s.node(ctx, n)
					}
				})
			}
		})
	case kind == Metadata && f.Num == 1:
		s.in(ctx, f, func(f wire.Field) {
			if t, err := s.d.Text(f, short); f.Num == 4 && err == nil && strings.HasPrefix(t, "_tf_keras_") {
				s.found = true
			}
		})
	}
}

// node reports whether f has a name and an operator, as a node has.
func (s *sniffer) node(ctx context.Context, f wire.Field) {
	var name, op string
	err := s.d.Each(ctx, f.Start, f.End, func(f wire.Field) (err error) {
		switch {
		case f.Type != wire.Bytes:
		case f.Num == 1:
			name, err = s.d.Text(f, short)
		case f.Num == 2:
			op, err = s.d.Text(f, short)
		}
		return err
	})
	if strings.HasSuffix(name, ".proto") && EffectOf(op) == None {
		return // a set of file descriptors reads the same: name and package
	}
	s.found = s.found || err == nil && name != "" && identifier(op)
}

func identifier(s string) bool {
	for i, c := range []byte(s) {
		letter := c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_'
		if !letter && (i == 0 || c != '>' && (c < '0' || c > '9')) {
			return false
		}
	}
	return s != ""
}

type walker struct {
	d     *wire.Reader
	lim   bound.Limits
	m     *Model
	texts int64 // bytes of m.Keras
	limit error // the first part that was left out
	edges int   // nodes and inputs kept of all bodies
	names int   // bytes of their names
}

// Open walks the file as each of the kinds. The model is valid as far as it goes.
func Open(ctx context.Context, r io.ReaderAt, size int64, kinds []string, lim bound.Limits) (*Model, error) {
	m := &Model{Ops: map[string]Use{}, Functions: map[string]bool{}}
	w := &walker{d: wire.NewReader(r, size), lim: lim, m: m}
	all := wire.Field{Type: wire.Bytes, End: size}
	var errs []error
	if slices.Contains(kinds, SavedModel) {
		errs = append(errs, w.each(ctx, all, func(f wire.Field) error {
			if f.Num == 2 {
				return w.meta(ctx, f)
			}
			return nil
		}))
	}
	if slices.Contains(kinds, MetaGraph) {
		errs = append(errs, w.meta(ctx, all))
	}
	if slices.Contains(kinds, GraphDef) {
		top, lib, err := w.graph(ctx, all)
		w.graphs(top, lib)
		errs = append(errs, err)
	}
	if slices.Contains(kinds, Metadata) {
		errs = append(errs, w.each(ctx, all, func(f wire.Field) error {
			if f.Num == 1 {
				return w.object(ctx, f, 4, 5)
			}
			return nil
		}))
	}
	return m, errors.Join(append(errs, w.limit)...)
}

// each calls visit for the fields of f that are texts or messages.
func (w *walker) each(ctx context.Context, f wire.Field, visit func(wire.Field) error) error {
	return w.d.Each(ctx, f.Start, f.End, func(f wire.Field) error {
		if f.Type != wire.Bytes {
			return nil
		}
		return visit(f)
	})
}

func (w *walker) full(what string, n int) {
	if w.limit == nil {
		w.limit = fmt.Errorf("more than %d %s: %w", n, what, detect.ErrLimit)
	}
}

func (w *walker) meta(ctx context.Context, g wire.Field) error {
	top, lib := &body{}, map[string]*body{}
	var outs []string
	err := w.each(ctx, g, func(f wire.Field) (err error) {
		switch f.Num {
		case 2:
			top, lib, err = w.graph(ctx, f)
			return err
		case 5:
			names, err := w.signature(ctx, f)
			outs = append(outs, names...)
			return loadable(err)
		case 6:
			return w.each(ctx, f, func(f wire.Field) error {
				if f.Num != 2 {
					return nil
				}
				name, err := w.d.Text(f, short)
				if len(w.m.Assets) < w.lim.Members {
					w.m.Assets = append(w.m.Assets, Text{name, f.Start, f.End})
				} else {
					w.full("assets", w.lim.Members)
				}
				return err
			})
		case 7: // nodes of the object graph, which may be Keras objects
			return w.each(ctx, f, func(f wire.Field) error {
				if f.Num != 1 {
					return nil
				}
				return w.each(ctx, f, func(f wire.Field) error {
					if f.Num != 4 {
						return nil
					}
					return w.object(ctx, f, 1, 3)
				})
			})
		}
		return nil
	})
	top.outs = outs
	w.graphs(top, lib)
	return err
}

// signature returns the names of the outputs of an entry of the signatures.
func (w *walker) signature(ctx context.Context, e wire.Field) (outs []string, err error) {
	key := ""
	err = w.each(ctx, e, func(f wire.Field) (err error) {
		if f.Num == 1 {
			key, err = w.d.Text(f, short)
			return err
		}
		return w.each(ctx, f, func(f wire.Field) error {
			if f.Num != 2 { // outputs
				return nil
			}
			return w.each(ctx, f, func(f wire.Field) error {
				if f.Num != 2 { // what it is
					return nil
				}
				return w.each(ctx, f, func(f wire.Field) error {
					if f.Num != 1 {
						return nil
					}
					t, err := w.d.Text(f, short)
					if w.room(len(t)) {
						outs = append(outs, t)
					}
					return err
				})
			})
		})
	})
	if key == "__saved_model_init_op" {
		outs = nil
	}
	return outs, err
}

// object keeps the configuration of a Keras object: the fields that hold its
// identifier and its metadata are given.
func (w *walker) object(ctx context.Context, o wire.Field, identifier, metadata int) error {
	var id string
	var conf wire.Field
	err := w.each(ctx, o, func(f wire.Field) (err error) {
		switch f.Num {
		case identifier:
			id, err = w.d.Text(f, short)
		case metadata:
			conf = f
		}
		return err
	})
	if err != nil || !strings.HasPrefix(id, "_tf_keras") || conf.End == conf.Start {
		return err
	}
	if w.texts += conf.End - conf.Start; w.texts > w.lim.Text {
		w.full("bytes of Keras metadata", int(w.lim.Text))
		return nil
	}
	text, err := w.d.Text(conf, w.lim.Text)
	w.m.Keras = append(w.m.Keras, Text{text, conf.Start, conf.End})
	return err
}

// graph walks the nodes of a GraphDef and of its functions.
func (w *walker) graph(ctx context.Context, g wire.Field) (top *body, lib map[string]*body, err error) {
	top, lib = &body{}, map[string]*body{}
	s := &scope{w: w, b: top}
	err = w.each(ctx, g, func(f wire.Field) error {
		switch f.Num {
		case 1:
			return s.node(ctx, f)
		case 2:
			return w.each(ctx, f, func(f wire.Field) error {
				if f.Num != 1 {
					return nil
				}
				name, b, err := w.function(ctx, f)
				lib[name] = b
				return err
			})
		}
		return nil
	})
	s.resolve()
	return top, lib, err
}

func (w *walker) function(ctx context.Context, fn wire.Field) (name string, b *body, err error) {
	b = &body{function: true, rets: map[string]string{}}
	s := &scope{w: w, b: b}
	err = w.each(ctx, fn, func(f wire.Field) error {
		switch f.Num {
		case 1:
			return w.each(ctx, f, func(f wire.Field) error {
				switch f.Num {
				case 1:
					var err error
					name, err = w.d.Text(f, short)
					if len(w.m.Functions) < w.lim.Members {
						w.m.Functions[name] = true
					} else {
						w.full("functions", w.lim.Members)
					}
					return err
				case 2, 3:
					a, err := w.arg(ctx, f)
					switch {
					case !w.room(len(a.name)):
					case f.Num == 2:
						b.args = append(b.args, a)
					default:
						b.outs = append(b.outs, a.name)
					}
					return loadable(err)
				}
				return nil
			})
		case 3:
			return s.node(ctx, f)
		case 4, 6:
			key, value, err := w.pair(ctx, f)
			switch {
			case !w.room(len(key) + len(value)):
			case f.Num == 4:
				b.rets[key] = value
			default:
				b.always = append(b.always, value)
			}
			return loadable(err)
		}
		return nil
	})
	s.resolve()
	return name, b, err
}

// arg reads an argument of a function.
func (w *walker) arg(ctx context.Context, a wire.Field) (out arg, err error) {
	const resource, variant = 20, 21
	err = w.d.Each(ctx, a.Start, a.End, func(f wire.Field) (err error) {
		switch {
		case f.Num == 1 && f.Type == wire.Bytes:
			out.name, err = w.d.Text(f, short)
		case f.Num == 3 && f.Type == wire.Varint:
			out.resource = f.Value == resource || f.Value == variant
		}
		return err
	})
	return out, err
}

// pair reads an entry of a map of texts.
func (w *walker) pair(ctx context.Context, e wire.Field) (key, value string, err error) {
	err = w.each(ctx, e, func(f wire.Field) (err error) {
		switch f.Num {
		case 1:
			key, err = w.d.Text(f, short)
		case 2:
			value, err = w.d.Text(f, short)
		}
		return err
	})
	return key, value, err
}
