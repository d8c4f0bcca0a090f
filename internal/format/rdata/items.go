package rdata

import (
	"context"
	"fmt"

	"github.com/modelwarden/warden/detect"
)

// The flags of an item.
const (
	hasAttributes = 1 << 9
	hasTag        = 1 << 10
)

// item walks one item and returns its type. Lists are walked in a loop; only
// what lies inside an item goes deeper.
func (w *walker) item(ctx context.Context, depth int) (int, error) {
	first := -1
	for {
		flags, err := w.int()
		if err != nil {
			return 0, err
		}
		if w.t.Items++; w.t.Items&4095 == 0 && ctx.Err() != nil {
			return 0, ctx.Err()
		}
		if depth > maxDepth {
			return 0, fmt.Errorf("byte %d: nested more than %d deep: %w", w.at, maxDepth, detect.ErrLimit)
		}
		kind := int(flags & 0xff)
		if first < 0 {
			first = kind
		}
		switch kind {
		case pairs, language, closure, promise, dots:
			more, err := w.cell(ctx, kind, flags, depth)
			if err != nil || !more {
				return first, err
			}
			continue // the rest of the list is the next item
		default:
			return first, w.other(ctx, kind, flags, depth)
		}
	}
}

// all walks n items.
func (w *walker) all(ctx context.Context, n int64, depth int) error {
	for range n {
		if _, err := w.item(ctx, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// cell walks a pair and reports whether its rest follows.
func (w *walker) cell(ctx context.Context, kind int, flags int32, depth int) (more bool, err error) {
	switch kind {
	case closure:
		w.t.Closures++
	case language:
		w.t.Calls++
	}
	at := w.at - 4
	n := int64(0)
	if flags&hasAttributes != 0 {
		n++
	}
	if flags&hasTag != 0 {
		n++
	}
	if err := w.all(ctx, n, depth); err != nil {
		return false, err
	}
	value, err := w.item(ctx, depth+1)
	if err != nil || kind != promise || value != unbound {
		return err == nil, err
	}
	if len(w.t.Promises) >= w.lim.Members {
		return false, fmt.Errorf("more than %d promises: %w", w.lim.Members, detect.ErrLimit)
	}
	w.t.Promises = append(w.t.Promises, Promise{At: at})
	w.inside = append(w.inside, len(w.t.Promises)-1)
	_, err = w.item(ctx, depth+1)
	w.inside = w.inside[:len(w.inside)-1]
	return false, err
}

func (w *walker) other(ctx context.Context, kind int, flags int32, depth int) error {
	switch kind {
	case reference:
		i := flags >> 8
		if i == 0 {
			var err error
			if i, err = w.int(); err != nil {
				return err
			}
		}
		if i < 1 || int(i) > len(w.refs) {
			return w.bad("reference %d of %d", i, len(w.refs))
		}
		if name := w.refs[i-1]; name != "" {
			return w.name(name)
		}
		return nil
	case symbol:
		inner, err := w.int()
		if err != nil || inner&0xff != char {
			return w.bad("symbol with an item of type %d (%v)", inner&0xff, err)
		}
		s, err := w.chars()
		if err == nil {
			err = w.refer(s)
		}
		if err == nil {
			err = w.name(s)
		}
		return err
	case persistent, pack, namespace:
		if _, err := w.int(); err != nil {
			return err
		}
		n, err := w.length(4)
		if err == nil {
			err = w.all(ctx, n, depth)
		}
		if err == nil {
			err = w.refer("")
		}
		return err
	case env:
		if err := w.refer(""); err != nil {
			return err
		}
		if _, err := w.int(); err != nil {
			return err
		}
		return w.all(ctx, 4, depth)
	case altrep:
		return w.all(ctx, 3, depth)
	}
	if kind >= 241 { // constants of R, which have no content
		return nil
	}
	if err := w.vector(ctx, kind, depth); err != nil {
		return err
	}
	if flags&hasAttributes != 0 {
		return w.all(ctx, 1, depth)
	}
	return nil
}

// vector walks an item that may have attributes.
func (w *walker) vector(ctx context.Context, kind, depth int) error {
	numbers := func(size int64) error {
		n, err := w.length(size)
		if err != nil {
			return err
		}
		if w.form == ascii {
			return w.words(ctx, n*(1+size/16)) // a complex number is two words
		}
		return w.skip(n * size)
	}
	switch kind {
	case 0:
		return nil
	case char:
		_, err := w.chars()
		return err
	case special, builtin:
		s, err := w.chars()
		if err == nil {
			err = w.name(s)
		}
		return err
	case logical, integer:
		return numbers(4)
	case real:
		return numbers(8)
	case complexes:
		return numbers(16)
	case raw:
		return numbers(1)
	case text, list, expr:
		n, err := w.length(4)
		if err != nil {
			return err
		}
		return w.all(ctx, n, depth)
	case pointer:
		w.t.External++
		if err := w.refer(""); err != nil {
			return err
		}
		return w.all(ctx, 2, depth)
	case weak:
		w.t.External++
		return w.refer("")
	case object:
		return nil
	case bytecode:
		w.t.Bytecode++
		if _, err := w.length(4); err != nil {
			return err
		}
		return w.code(ctx, depth)
	}
	return w.bad("unknown type %d", kind)
}

// code walks compiled code: its numbers, then its constants.
func (w *walker) code(ctx context.Context, depth int) error {
	if _, err := w.item(ctx, depth+1); err != nil {
		return err
	}
	n, err := w.length(4)
	if err != nil {
		return err
	}
	for range n {
		kind, err := w.int()
		if err != nil {
			return err
		}
		switch kind {
		case bytecode:
			if depth > maxDepth {
				return fmt.Errorf("byte %d: nested more than %d deep: %w", w.at, maxDepth, detect.ErrLimit)
			}
			err = w.code(ctx, depth+1)
		case language, pairs, bcDef, bcRef, attrLang, attrList:
			err = w.codeLang(ctx, kind, depth+1)
		default:
			_, err = w.item(ctx, depth+1)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// codeLang walks a language constant of compiled code.
func (w *walker) codeLang(ctx context.Context, kind int32, depth int) error {
	for {
		if w.t.Items++; w.t.Items&4095 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if depth > maxDepth {
			return fmt.Errorf("byte %d: nested more than %d deep: %w", w.at, maxDepth, detect.ErrLimit)
		}
		if kind == bcRef {
			_, err := w.int()
			return err
		}
		var err error
		if kind == bcDef {
			if _, err = w.int(); err == nil {
				kind, err = w.int()
			}
			if err != nil {
				return err
			}
		}
		switch kind {
		case language, pairs, attrLang, attrList:
		default:
			_, err := w.item(ctx, depth+1)
			return err
		}
		if kind == attrLang || kind == attrList {
			_, err = w.item(ctx, depth+1)
		}
		if err == nil {
			_, err = w.item(ctx, depth+1) // the tag
		}
		var first int32
		if err == nil {
			first, err = w.int()
		}
		if err == nil {
			err = w.codeLang(ctx, first, depth+1)
		}
		if err == nil {
			kind, err = w.int()
		}
		if err != nil {
			return err
		}
		w.t.Calls++
	}
}
