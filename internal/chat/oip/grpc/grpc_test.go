package grpc_test

import (
	"encoding/binary"
	"errors"
	"math"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/modelwarden/warden/internal/chat/dialect"
	"github.com/modelwarden/warden/internal/chat/oip/grpc"
)

// msg builds a message of fields that hold bytes.
func msg(b []byte, num protowire.Number, val []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), val)
}

func text(b []byte, num protowire.Number, s string) []byte { return msg(b, num, []byte(s)) }

func shape(b []byte, dims ...uint64) []byte {
	var p []byte
	for _, d := range dims {
		p = protowire.AppendVarint(p, d)
	}
	return msg(b, 3, p)
}

func input(name, datatype string, contents []byte, dims ...uint64) []byte {
	b := shape(text(text(nil, 1, name), 2, datatype), dims...)
	if contents != nil {
		b = msg(b, 5, contents)
	}
	return b
}

func floats(fs ...float32) []byte {
	var b []byte
	for _, f := range fs {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(f))
	}
	return b
}

func TestDecode(t *testing.T) {
	contents := msg(nil, 6, floats(1, 2))
	body := msg(text(text(nil, 1, "m"), 2, "3"), 5, input("a", "FP32", contents, 2, 1))
	body = msg(body, 5, input("b", "BYTES", text(text(nil, 8, "x"), 8, "y"), 2))
	r, err := grpc.Decode(dialect.Infer, body, grpc.DefaultLimits())
	if err != nil || r.Model != "m" || r.Version != "3" || len(r.Tensors) != 2 || r.Params.Rows != 2 || len(r.Messages[0].Parts) != 2 {
		t.Fatalf("%+v, %v", r, err)
	}
	if d := r.Tensors[0].Data; string(body[d.Start:d.End]) != string(floats(1, 2)) || !r.Tensors[0].Raw {
		t.Errorf("%+v", r.Tensors[0])
	}
	raw := msg(msg(text(nil, 1, "m"), 5, input("a", "FP16", nil, 2)), 7, []byte{1, 2, 3, 4})
	if r, err := grpc.Decode(dialect.Infer, raw, grpc.DefaultLimits()); err != nil || string(raw[r.Tensors[0].Data.Start:r.Tensors[0].Data.End]) != "\x01\x02\x03\x04" {
		t.Errorf("%+v, %v", r, err)
	}
	if r, err := grpc.Decode(dialect.Ready, text(nil, 1, "m"), grpc.DefaultLimits()); err != nil || r.Model != "m" {
		t.Errorf("%+v, %v", r, err)
	}
	if a, err := grpc.DecodeAnswer(msg(text(nil, 1, "m"), 5, nil), grpc.DefaultLimits()); err != nil || a.Outputs != 1 {
		t.Errorf("%+v, %v", a, err)
	}
}

func TestRefused(t *testing.T) {
	ok := input("a", "FP32", msg(nil, 6, floats(1)), 1)
	shm := text(nil, 1, "Shared_Memory_Region")
	for name, body := range map[string][]byte{
		"empty": nil, "no_model": msg(nil, 5, ok), "model_twice": msg(text(text(nil, 1, "m"), 1, "n"), 5, ok), "no_input": text(nil, 1, "m"),
		"unknown_field": msg(msg(text(nil, 1, "m"), 5, ok), 99, nil), "shape": msg(text(nil, 1, "m"), 5, input("a", "FP32", msg(nil, 6, floats(1)), 2)),
		"negative_shape": msg(text(nil, 1, "m"), 5, input("a", "FP32", nil, math.MaxUint64)), "wrong_field": msg(text(nil, 1, "m"), 5, input("a", "FP64", msg(nil, 6, floats(1)), 1)),
		"datatype": msg(text(nil, 1, "m"), 5, input("a", "FP8", nil, 0)), "raw_and_typed": msg(msg(text(nil, 1, "m"), 5, ok), 7, floats(1)),
		"raw_size": msg(msg(text(nil, 1, "m"), 5, input("a", "FP32", nil, 1)), 7, []byte{1}), "raw_more": msg(msg(msg(text(nil, 1, "m"), 5, input("a", "FP32", nil, 1)), 7, floats(1)), 7, floats(1)),
		"shared_memory": msg(msg(text(nil, 1, "m"), 5, ok), 4, shm), "shared_memory_input": msg(text(nil, 1, "m"), 5, msg(ok, 4, shm)), "shared_memory_output": msg(msg(text(nil, 1, "m"), 5, ok), 6, msg(nil, 2, shm)),
		"twice": msg(msg(text(nil, 1, "m"), 5, ok), 5, ok), "cut": msg(text(nil, 1, "m"), 5, ok)[:10], "not_utf8": msg(text(nil, 1, "\xff"), 5, ok), "rows": msg(text(nil, 1, "m"), 5, input("a", "INT8", msg(nil, 2, make([]byte, 5000)), 5000)),
		"group": protowire.AppendTag(msg(text(nil, 1, "m"), 5, ok), 9, protowire.StartGroupType),
	} {
		if r, err := grpc.Decode(dialect.Infer, body, grpc.DefaultLimits()); !errors.Is(err, grpc.ErrMessage) {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
	for _, path := range []string{"", "/inference.GRPCInferenceService/", "/inference.GRPCInferenceService/SystemSharedMemoryRegister", "/inference.GRPCInferenceService/RepositoryModelLoad", "/other/ModelInfer", "ModelInfer", "/inference.GRPCInferenceService/ModelStreamInfer"} {
		if op, ok := grpc.Method(path); ok {
			t.Errorf("%s is %s", path, op)
		}
	}
	if op, ok := grpc.Method("/inference.GRPCInferenceService/ModelInfer"); !ok || op != dialect.Infer {
		t.Error(op)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(msg(text(nil, 1, "m"), 5, input("a", "FP32", msg(nil, 6, floats(1)), 1)))
	f.Add(msg(msg(text(nil, 1, "m"), 5, input("a", "FP16", nil, 2)), 7, []byte{1, 2, 3, 4}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := grpc.DecodeAnswer(b, grpc.DefaultLimits()); err != nil && !errors.Is(err, grpc.ErrMessage) {
			t.Fatal(err)
		}
		r, err := grpc.Decode(dialect.Infer, b, grpc.DefaultLimits())
		if err != nil {
			return
		}
		for _, x := range r.Tensors {
			if x.Data.Start < 0 || x.Data.End > len(b) || x.Data.Start > x.Data.End {
				t.Fatalf("%+v of %d bytes", x, len(b))
			}
		}
	})
}
