// Package coreml walks Core ML models as raw protobuf: the kind of the model, its
// layers and operations, the classes that the application has to bring, linked
// models, files of weights and descriptive texts. Weights are passed over.
//
// Source: Model.proto, NeuralNetwork.proto, CustomModel.proto, LinkedModel.proto
// and MIL.proto of coremltools 8.
package coreml

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format/bound"
	"github.com/modelwarden/warden/internal/format/named"
	"github.com/modelwarden/warden/internal/format/wire"
)

// The kinds of model that matter here, by the number of their field.
const (
	pipelineClassifier = 200
	pipelineRegressor  = 201
	pipeline           = 202
	netRegressor       = 303
	netClassifier      = 403
	net                = 500
	mlProgram          = 502
	customModel        = 555
	linkedModel        = 556
)

// kinds are all kinds of model.
var kinds = map[int]bool{
	200: true, 201: true, 202: true, 300: true, 301: true, 302: true, 303: true, 304: true, 400: true, 401: true, 402: true, 403: true, 404: true,
	500: true, 501: true, 502: true, 555: true, 556: true, 560: true, 600: true, 601: true, 602: true, 603: true, 604: true, 606: true, 607: true,
	609: true, 610: true, 900: true, 2000: true, 2001: true, 2002: true, 2003: true, 2004: true, 2005: true, 2006: true, 3000: true,
}

// errFull ends a walk that has seen enough.
var errFull = errors.New("enough")

// short is how much of a text is kept.
const short = 4096

// Sniff reports whether the top level is a Model: a version, a description and
// one kind of model. With byName the file may break off after its kind began.
func Sniff(ctx context.Context, r io.ReaderAt, size int64, byName bool) bool {
	var version, description, kind, strange bool
	fields := 0
	err := wire.NewReader(r, size).Each(ctx, 0, size, func(f wire.Field) error {
		switch {
		case f.Num == 1 && f.Type == wire.Varint:
			version = f.Value > 0 && f.Value < 1000
		case f.Num == 2 && f.Type == wire.Bytes:
			description = true
		case f.Num == 10 && f.Type == wire.Varint: // can be trained on the device
		case kinds[f.Num] && f.Type == wire.Bytes:
			kind = true
		default:
			strange = true
		}
		if fields++; strange && !byName || fields > 10_000 {
			return errFull
		}
		return nil
	})
	if byName {
		return version && (kind || err != nil)
	}
	return err == nil && version && kind && description
}

type walker struct {
	d    *wire.Reader
	lim  bound.Limits
	list *named.List
	ctx  context.Context //nolint:containedctx // of the one walk
	deep bool
}

// Open walks the model. The list is valid as far as it goes.
func Open(ctx context.Context, r io.ReaderAt, size int64, lim bound.Limits) (*named.List, error) {
	w := &walker{d: wire.NewReader(r, size), lim: lim, list: named.NewList(lim), ctx: ctx}
	err := w.model(wire.Field{Type: wire.Bytes, End: size}, 0)
	if w.deep {
		err = errors.Join(err, fmt.Errorf("messages nested more than %d deep were not read: %w", lim.Nesting, detect.ErrLimit))
	}
	return w.list, errors.Join(err, w.list.Err())
}

// each calls visit for the fields of f that are texts or messages.
func (w *walker) each(f wire.Field, depth int, visit func(wire.Field) error) error {
	if depth > w.lim.Nesting {
		w.deep = true
		return nil
	}
	return w.d.Each(w.ctx, f.Start, f.End, func(f wire.Field) error {
		if f.Type != wire.Bytes {
			return nil
		}
		return visit(f)
	})
}

// keep keeps a text as what it is.
func (w *walker) keep(kind named.Kind, key string, f wire.Field) error {
	text, err := w.d.Text(f, short)
	if text != "" {
		w.list.Add(named.Item{Kind: kind, Key: key, Value: text, Start: f.Start, End: f.End})
	}
	return err
}

func (w *walker) model(m wire.Field, depth int) error {
	return w.each(m, depth, func(f wire.Field) error {
		switch f.Num {
		case 2:
			return w.description(f, depth+1)
		case net, netClassifier, netRegressor:
			return w.each(f, depth+1, func(f wire.Field) error {
				if f.Num != 1 {
					return nil
				}
				return w.layer(f, depth+2)
			})
		case pipeline:
			return w.models(f, depth+1)
		case pipelineClassifier, pipelineRegressor:
			return w.each(f, depth+1, func(f wire.Field) error {
				if f.Num != 1 {
					return nil
				}
				return w.models(f, depth+2)
			})
		case customModel:
			return w.custom("customModel", f, 1, depth+1)
		case linkedModel:
			return w.linked(f, depth+1)
		case mlProgram:
			return w.program(f, depth+1)
		}
		return nil
	})
}

func (w *walker) models(p wire.Field, depth int) error {
	return w.each(p, depth, func(f wire.Field) error {
		if f.Num != 1 {
			return nil
		}
		return w.model(f, depth+1)
	})
}

// description keeps the texts of the metadata.
func (w *walker) description(d wire.Field, depth int) error {
	return w.each(d, depth, func(f wire.Field) error {
		if f.Num != 100 {
			return nil
		}
		return w.each(f, depth+1, func(f wire.Field) error {
			switch f.Num {
			case 1, 2, 3, 4:
				return w.keep(named.Text, "metadata", f)
			case 100:
				return w.pair(f, depth+2)
			}
			return nil
		})
	})
}

// pair keeps an entry of a map of texts.
func (w *walker) pair(e wire.Field, depth int) error {
	key := "metadata"
	return w.each(e, depth, func(f wire.Field) (err error) {
		switch f.Num {
		case 1:
			key, err = w.d.Text(f, 256)
		case 2:
			err = w.keep(named.Text, key, f)
		}
		return err
	})
}

// Layers that hold networks: a branch in its fields 1 and 2, a loop in 3 and 4.
const branch, loop = 605, 615

// layer keeps the class of a layer that the application has to bring, and looks
// into the layers of loops and branches.
func (w *walker) layer(l wire.Field, depth int) error {
	return w.each(l, depth, func(f wire.Field) error {
		switch f.Num {
		case 500:
			return w.custom("custom layer", f, 10, depth+1)
		case branch, loop:
			return w.each(f, depth+1, func(n wire.Field) error {
				if first := 2*(f.Num-branch)/(loop-branch) + 1; n.Num != first && n.Num != first+1 {
					return nil
				}
				return w.each(n, depth+2, func(f wire.Field) error {
					if f.Num != 1 {
						return nil
					}
					return w.layer(f, depth+3)
				})
			})
		}
		return nil
	})
}

// custom keeps a class and the texts among its parameters.
func (w *walker) custom(what string, c wire.Field, class, depth int) error {
	return w.each(c, depth, func(f wire.Field) error {
		switch f.Num {
		case class:
			return w.keep(named.Custom, what, f)
		case 30:
			return w.each(f, depth+1, func(f wire.Field) error {
				if f.Num != 2 {
					return nil
				}
				return w.each(f, depth+2, func(f wire.Field) error {
					if f.Num != 20 {
						return nil
					}
					return w.keep(named.Text, what, f)
				})
			})
		case 40:
			return w.keep(named.Text, what, f)
		}
		return nil
	})
}

// linked keeps the name of a model in another file and where to search for it.
func (w *walker) linked(l wire.Field, depth int) error {
	return w.each(l, depth, func(f wire.Field) error {
		if f.Num != 1 {
			return nil
		}
		return w.each(f, depth+1, func(f wire.Field) error {
			key := "linked model"
			if f.Num == 2 {
				key = "search path of a linked model"
			}
			return w.each(f, depth+2, func(f wire.Field) error {
				if f.Num != 1 {
					return nil
				}
				return w.keep(named.File, key, f)
			})
		})
	})
}

// program walks the functions of an ML program.
func (w *walker) program(p wire.Field, depth int) error {
	return w.each(p, depth, func(f wire.Field) error {
		switch f.Num {
		case 2: // name -> function
			return w.value(f, depth+1, func(f wire.Field, depth int) error {
				return w.each(f, depth, func(f wire.Field) error {
					if f.Num != 3 { // name -> block
						return nil
					}
					return w.value(f, depth+1, w.block)
				})
			})
		case 3:
			return w.keep(named.Text, "description", f)
		}
		return nil
	})
}

// value visits the value of an entry of a map.
func (w *walker) value(e wire.Field, depth int, visit func(f wire.Field, depth int) error) error {
	return w.each(e, depth, func(f wire.Field) error {
		if f.Num != 2 {
			return nil
		}
		return visit(f, depth+1)
	})
}

func (w *walker) block(b wire.Field, depth int) error {
	return w.each(b, depth, func(f wire.Field) error {
		if f.Num != 3 {
			return nil
		}
		return w.operation(f, depth+1)
	})
}

// operation keeps an operation that the application has to bring, and files of
// weights.
func (w *walker) operation(o wire.Field, depth int) error {
	custom := false
	err := w.each(o, depth, func(f wire.Field) error {
		if f.Num != 1 {
			return nil
		}
		op, err := w.d.Text(f, 256)
		if custom = op == "custom_layer"; custom {
			w.list.Add(named.Item{Kind: named.Custom, Key: "operation", Value: op, Start: f.Start, End: f.End})
		}
		return err
	})
	if err != nil {
		return err
	}
	return w.each(o, depth, func(f wire.Field) error {
		switch f.Num {
		case 4:
			return w.block(f, depth+1)
		case 5:
			key := ""
			return w.each(f, depth+1, func(f wire.Field) (err error) {
				if f.Num == 1 {
					key, err = w.d.Text(f, 256)
					return err
				}
				return w.attribute(f, key, custom, depth+2)
			})
		case 2: // arguments, which may be values
			return w.value(f, depth+1, func(f wire.Field, depth int) error {
				return w.each(f, depth, func(f wire.Field) error {
					return w.value(f, depth+1, func(f wire.Field, depth int) error { return w.attribute(f, "", custom, depth) })
				})
			})
		}
		return nil
	})
}

// attribute keeps the file of a value that lies beside the model, and the texts
// of a custom operation.
func (w *walker) attribute(v wire.Field, key string, custom bool, depth int) error {
	return w.each(v, depth, func(f wire.Field) error {
		switch {
		case f.Num == 5: // blobFileValue
			return w.each(f, depth+1, func(f wire.Field) error {
				if f.Num != 1 {
					return nil
				}
				return w.keep(named.File, "weights", f)
			})
		case f.Num == 3 && custom: // immediateValue.tensor.strings.values
			return w.texts(f, key, depth+1, []int{1, 4, 1})
		}
		return nil
	})
}

// texts keeps the texts at the end of a path of fields.
func (w *walker) texts(f wire.Field, key string, depth int, path []int) error {
	return w.each(f, depth, func(f wire.Field) error {
		switch {
		case f.Num != path[0]:
			return nil
		case len(path) > 1:
			return w.texts(f, key, depth+1, path[1:])
		case key == "class_name":
			return w.keep(named.Custom, "operation", f)
		default:
			return w.keep(named.Text, "custom operation", f)
		}
	})
}
