package format

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/modelwarden/warden/internal/format/cntk"
	"github.com/modelwarden/warden/internal/format/coreml"
	"github.com/modelwarden/warden/internal/format/jsontext"
	"github.com/modelwarden/warden/internal/format/mxnet"
	"github.com/modelwarden/warden/internal/format/named"
	"github.com/modelwarden/warden/internal/format/paddle"
)

// name keeps what a reader found; texts lie with the other texts.
func (f *File) name(format string, list *named.List, err error) {
	f.claim(format)
	if list != nil {
		for _, i := range list.Items {
			if i.Kind == named.Text {
				f.text(i.Key, i.Value, i.Start)
			} else {
				f.Named = append(f.Named, i)
			}
		}
	}
	if err != nil {
		f.unread("read/"+format, err)
	}
}

func (f *File) tryCoreML(ctx context.Context, w window) bool {
	if len(w.head) < 4 || w.head[0] != 1<<3 || !coreml.Sniff(ctx, f.R, f.Size, f.ext() == ".mlmodel") {
		return false
	}
	list, err := coreml.Open(ctx, f.R, f.Size, f.limits())
	f.name("coreml", list, err)
	return true
}

func (f *File) tryPaddle(ctx context.Context, w window) bool {
	if paddle.SniffTensors(w.head) {
		n, err := paddle.Tensors(ctx, f.R, f.Size)
		if err == nil || n > 0 || f.ext() == ".pdiparams" {
			f.name("paddle", nil, err)
			return true
		}
	}
	if len(w.head) < 4 || w.head[0] != 1<<3|2 || !paddle.Sniff(ctx, f.R, f.Size) {
		return false
	}
	list, err := paddle.Open(ctx, f.R, f.Size, f.limits())
	f.name("paddle", list, err)
	return true
}

func (f *File) tryCNTK(ctx context.Context, w window) bool {
	switch {
	case w.has(cntk.Magic):
		list, err := cntk.OpenV1(ctx, f.R, f.Size, f.limits())
		f.name("cntk", list, err)
	case len(w.head) > 4 && (w.head[0] == 1<<3 || w.head[0] == 2<<3|2) && cntk.Sniff(ctx, f.R, f.Size):
		list, err := cntk.Open(ctx, f.R, f.Size, f.limits())
		f.name("cntk", list, err)
	default:
		return false
	}
	return true
}

func (f *File) tryMXNet(ctx context.Context, w window) bool {
	if !w.has(mxnet.Magic) {
		return false
	}
	list, err := mxnet.Arrays(ctx, f.R, f.Size, f.limits())
	f.name("mxnet", list, err)
	return true
}

// jsonNames lists what graphs and packages that are JSON name.
func (f *File) jsonNames(ctx context.Context, doc *jsontext.Doc) {
	root := doc.Root()
	switch {
	case mxnet.IsSymbol(doc):
		list, err := mxnet.Symbol(ctx, doc, f.limits())
		f.name("mxnet", list, err)
	case root.Get("base_code").Get("magic").Text() == "pir":
		list, err := pir(ctx, doc, f.limits())
		f.name("paddle", list, err)
	case root.Get("itemInfoEntries").Ok() && root.Get("rootModelIdentifier").Ok():
		list := named.NewList(f.limits())
		root.Get("itemInfoEntries").Each(func(v jsontext.Value) bool {
			if v.Key() == "path" {
				start, end := v.Span()
				list.Add(named.Item{Kind: named.File, Key: "path", Value: v.Text(), Start: start, End: end})
			}
			return ctx.Err() == nil
		})
		f.name("coreml", list, errors.Join(list.Err(), ctx.Err()))
	}
}

// pir lists what a program of PaddlePaddle in its newer form names: operators are
// "dialect.name", or "number.name" where the dialect is numbered.
func pir(ctx context.Context, doc *jsontext.Doc, lim Limits) (*named.List, error) {
	list := named.NewList(lim)
	if v, ok := doc.Root().Get("base_code").Get("version").Int(); ok && v > 10 {
		return list, notYetError(fmt.Sprintf("version %d of the program is not read", v))
	}
	steps := 0
	doc.Root().Each(func(v jsontext.Value) bool {
		if steps++; steps&4095 == 0 && ctx.Err() != nil {
			return false
		}
		if v.Kind() != jsontext.String || v.Key() != "#" {
			return true
		}
		_, op, dotted := strings.Cut(v.Text(), ".")
		if kind, acts := paddle.EffectOf(op); dotted && acts {
			start, end := v.Span()
			list.Add(named.Item{Kind: kind, Key: op, Start: start, End: end})
		}
		return true
	})
	return list, errors.Join(list.Err(), ctx.Err())
}
