package format

import (
	"context"
	"fmt"

	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format/executorch"
	"github.com/modelwarden/warden/internal/format/gguf"
	"github.com/modelwarden/warden/internal/format/graph"
	"github.com/modelwarden/warden/internal/format/hdf5"
	"github.com/modelwarden/warden/internal/format/onnx"
	"github.com/modelwarden/warden/internal/format/safetensors"
	"github.com/modelwarden/warden/internal/format/tensorflow"
	"github.com/modelwarden/warden/internal/format/tflite"
	"github.com/modelwarden/warden/internal/format/wire"
)

func (f *File) trySafetensors(ctx context.Context, w window) bool {
	if !safetensors.Sniff(w.head, f.Size) {
		return false
	}
	h, err := safetensors.Open(ctx, f.R, f.Size, f.limits())
	if err != nil && f.ext() != ".safetensors" && h.Data == 0 {
		return false // nine bytes that look like one
	}
	f.claim("safetensors")
	f.Safetensors = h
	if err != nil {
		f.unread("read/safetensors", err)
	}
	return true
}

func (f *File) tryGGUF(ctx context.Context, w window) bool {
	if !w.has(gguf.Magic) {
		return false
	}
	f.claim("gguf")
	m, err := gguf.Open(ctx, f.R, f.Size, f.limits())
	f.GGUF = m
	if err != nil {
		f.unread("read/gguf", err)
	}
	for _, t := range m.Texts {
		if !templateKey(t.Key) {
			continue
		}
		if !t.Whole {
			f.unread("read/template", fmt.Errorf("%s is longer than %d bytes: %w", t.Key, f.limits().String, detect.ErrLimit))
		}
		f.template(ctx, t.Key, t.Value, t.At, true)
	}
	return true
}

func (f *File) tryONNX(ctx context.Context, w window) bool {
	if len(w.head) < 4 || !onnx.Sniff(ctx, f.R, f.Size) {
		return false
	}
	f.claim("onnx")
	m, err := onnx.Open(ctx, f.R, f.Size, f.limits())
	f.ONNX, f.Graphs = m, []*graph.Model{m.Graph}
	if err != nil {
		f.unread("read/onnx", err)
	}
	return true
}

func (f *File) tryHDF5(ctx context.Context, _ window) bool {
	if hdf5.Find(f.R, f.Size) < 0 {
		return false
	}
	h, sts := hdf5.Open(ctx, f.R, f.Size, f.limits())
	f.HDF5 = h
	name := "hdf5"
	for _, a := range h.Attrs {
		if a.Name == "model_config" || a.Name == "training_config" {
			name = "keras-h5"
			f.config(ctx, a.Name, []byte(a.Value), a.At, true)
		}
	}
	f.claim(name)
	f.take(sts)
	return true
}

func (f *File) tryTFLite(ctx context.Context, w window) bool {
	if len(w.head) < 8 || string(w.head[4:8]) != tflite.Magic {
		return false
	}
	f.claim("tflite")
	m, err := tflite.Open(ctx, f.R, f.Size, f.limits())
	f.TFLite = m
	if err != nil {
		f.unread("read/tflite", err)
	}
	return true
}

func (f *File) tryExecuTorch(ctx context.Context, w window) bool {
	if len(w.head) < 8 || string(w.head[4:8]) != executorch.Magic {
		return false
	}
	f.claim("executorch")
	p, err := executorch.Open(ctx, f.R, f.Size, f.limits())
	f.ExecuTorch = p
	if err != nil {
		f.unread("read/executorch", err)
	}
	return true
}

func (f *File) tryTensorFlow(ctx context.Context, w window) bool {
	if len(w.head) < 4 || plain(w.head) {
		return false
	}
	kinds := tensorflow.Sniff(ctx, f.R, f.Size, f.ext() == ".pb")
	if len(kinds) == 0 {
		return false
	}
	for _, k := range kinds {
		f.claim(k)
	}
	m, err := tensorflow.Open(ctx, f.R, f.Size, kinds, f.limits())
	f.TensorFlow = m
	f.Graphs = append(f.Graphs, m.Graphs...)
	if err != nil {
		f.unread("read/tensorflow", err)
	}
	for _, k := range m.Keras {
		f.config(ctx, "keras_metadata", []byte(k.Value), k.Start, true)
	}
	return true
}

// graphText reads a graph in the text format of protobuf.
func (f *File) graphText(ctx context.Context, b []byte) {
	if ext := f.ext(); ext != ".pbtxt" && ext != ".pbtext" && ext != ".textproto" && ext != ".prototxt" {
		return
	}
	m, ok, err := tensorflow.OpenText(ctx, b, f.limits())
	if ok {
		f.claim(tensorflow.GraphDef)
		f.TensorFlow = m
		f.Graphs = append(f.Graphs, m.Graphs...)
		for _, k := range m.Keras {
			f.config(ctx, "keras_metadata", []byte(k.Value), k.Start, true)
		}
	}
	if err != nil {
		f.unread("read/tensorflow", err)
	}
}

// tryMessage reports whether f is plainly a protobuf message of another schema,
// as exporters leave them beside a model: no loader takes it for a graph.
func (f *File) tryMessage(ctx context.Context) bool {
	if f.ext() != ".pb" {
		return false
	}
	err := wire.NewReader(f.R, f.Size).Each(ctx, 0, f.Size, func(wire.Field) error { return nil })
	if err != nil || ctx.Err() != nil {
		return false
	}
	f.Kind = "protobuf"
	return true
}
