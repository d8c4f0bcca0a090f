package paddle_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/modelwarden/warden/internal/format/bound"
	"github.com/modelwarden/warden/internal/format/formattest"
	"github.com/modelwarden/warden/internal/format/named"
	"github.com/modelwarden/warden/internal/format/paddle"
)

func program() []byte {
	return formattest.Paddle(formattest.PaddleOp("conv2d", "op_callstack", "train.py", "format", "NCHW"), formattest.PaddleOp("py_func"), formattest.PaddleOp("save", "file_path", "/tmp/x"))
}

func TestOpen(t *testing.T) {
	b := program()
	r, size := bytes.NewReader(b), int64(len(b))
	if !paddle.Sniff(t.Context(), r, size) {
		t.Error("not taken for a program")
	}
	list, err := paddle.Open(t.Context(), r, size, bound.Default())
	want := []named.Item{
		{Kind: named.Text, Key: "conv2d.format", Value: "NCHW"},
		{Kind: named.Python, Key: "py_func"},
		{Kind: named.Writes, Key: "save"},
		{Kind: named.File, Key: "save.file_path", Value: "/tmp/x"},
	}
	if d := cmp.Diff(want, list.Items, cmpopts.IgnoreFields(named.Item{}, "Start", "End")); d != "" || err != nil {
		t.Error(err, d)
	}
	for name, b := range map[string][]byte{"onnx": formattest.ONNX(nil, nil), "graph": formattest.TFGraph([][]byte{formattest.TFNode("a", "NoOp", nil)}, nil), "text": []byte("some words")} {
		if paddle.Sniff(t.Context(), bytes.NewReader(b), int64(len(b))) {
			t.Errorf("%s is taken for a program", name)
		}
	}
}

func TestTensors(t *testing.T) {
	two := append(formattest.PaddleTensor(7), formattest.PaddleTensor(3)...)
	huge := formattest.PaddleTensor(7)
	huge[23] = 0x7f
	for name, tt := range map[string]struct {
		b    []byte
		n    int
		good bool
	}{
		"two": {two, 2, true}, "cut": {two[:len(two)-1], 1, false}, "more": {append(slices.Clip(two), 1), 2, false},
		"huge": {huge, 0, false}, "long_description": {append(make([]byte, 16), 0xff, 0xff, 0, 0, 8, 5), 0, false},
	} {
		n, err := paddle.Tensors(t.Context(), bytes.NewReader(tt.b), int64(len(tt.b)))
		if n != tt.n || (err == nil) != tt.good || err != nil && !errors.Is(err, paddle.ErrTensor) {
			t.Errorf("%s: %d tensors, %v", name, n, err)
		}
		if name != "long_description" && !paddle.SniffTensors(tt.b) {
			t.Errorf("%s: not taken for tensors", name)
		}
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(program())
	f.Add(formattest.PaddleTensor(3))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, size := bytes.NewReader(b), int64(len(b))
		paddle.Sniff(t.Context(), r, size)
		paddle.SniffTensors(b)
		if n, err := paddle.Tensors(t.Context(), r, size); err == nil && int64(n) > size/20 {
			t.Errorf("%d tensors in %d bytes", n, size)
		}
		one, err1 := paddle.Open(t.Context(), r, size, bound.Default())
		two, err2 := paddle.Open(t.Context(), r, size, bound.Default())
		if d := cmp.Diff(one.Items, two.Items); d != "" || (err1 == nil) != (err2 == nil) {
			t.Error("same bytes, other result", d)
		}
	})
}
