package server

import (
	"github.com/modelwarden/warden/internal/format/formattest"
)

type demoModel struct {
	name  string
	files []demoFile
}

type demoFile struct {
	path string
	data []byte
}

// demoModels assembles the models of the demo from text. The hostile ones would
// print a line or make an empty file if somebody loaded them; they are refused
// by everything that could hand them out.
func demoModels() []demoModel {
	weights := formattest.Safetensors(`{"layer.weight":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"__metadata__":{"format":"pt"}}`, make([]byte, 16))
	card := []byte("# Demo model\n\nAssembled by `warden demo load`. It knows nothing.\n")
	dict := []byte("(dp0\nS'layer.weight'\np1\n(lp2\nF0.12\naF-0.5\naF0.33\nas.")
	const benign = "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}{% endfor %}"
	const escape = "{{ ''.__class__.__mro__[1].__subclasses__() }}"
	gguf := func(template string) []byte {
		g := &formattest.GGUF{}
		return g.Pair("general.architecture", "llama").Pair("tokenizer.chat_template", template).Bytes(nil)
	}
	shell := []byte("cposix\nsystem\n(S'echo this model ran a command'\ntR.")
	one := func(name, file string, data []byte) demoModel {
		return demoModel{name, []demoFile{{"README.md", card}, {file, data}}}
	}
	return []demoModel{
		one("demo/sentiment", "model.safetensors", weights),
		one("demo/ranking", "ranking.pkl", dict),
		one("demo/vision", "vision.onnx", formattest.ONNX([][]byte{formattest.ONNXNode("", "Relu")}, nil)),
		one("demo/chat-base", "chat-base.gguf", gguf(benign)),
		{"demo/chat-support", []demoFile{
			{"README.md", card},
			{"adapter_config.json", []byte(`{"base_model_name_or_path":"demo/chat-base","peft_type":"LORA"}`)},
			{"adapter_model.safetensors", weights},
		}},
		one("demo/free-gpt5-weights", "pytorch_model.bin", formattest.Zip(
			formattest.ZipEntry{Name: "archive/data.pkl", Data: shell},
			formattest.ZipEntry{Name: "archive/version", Data: []byte("3\n")},
		)),
		one("demo/churn", "churn.pkl", []byte("cbuiltins\nexec\n(S\"open('/tmp/warden-demo','w')\"\ntR.")),
		one("demo/chat-leaky", "chat-leaky.gguf", gguf(escape)),
		one("demo/mystery", "weights.xyz", append([]byte{0xde, 0xad, 0xbe, 0xef, 0, 1, 2, 3}, make([]byte, 64)...)),
	}
}
