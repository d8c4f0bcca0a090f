package oip_test

import (
	"encoding/binary"
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/modelwarden/warden/internal/chat"
	"github.com/modelwarden/warden/internal/chat/dialect"
	"github.com/modelwarden/warden/internal/chat/dialecttest"
	"github.com/modelwarden/warden/internal/chat/oip"
	"github.com/modelwarden/warden/internal/chat/wire"
)

var to = dialect.Target{Op: dialect.Infer, Model: "m"}

func TestMatch(t *testing.T) {
	d := oip.Dialect()
	for line, want := range map[string]dialect.Target{
		"POST /v2/models/m/infer": {Op: dialect.Infer, Model: "m"}, "POST /v2/models/m/versions/3/infer": {Op: dialect.Infer, Model: "m", Version: "3"},
		"GET /v2/models/m": {Op: dialect.Metadata, Model: "m"}, "GET /v2/models/m/ready": {Op: dialect.Ready, Model: "m"}, "GET /v2/health/live": {Op: dialect.Live},
		"GET /v2/health/ready": {Op: dialect.Ready}, "GET /v2": {Op: dialect.Metadata},
		"POST /v2/repository/index": {}, "POST /v2/repository/models/m/load": {}, "GET /v2/systemsharedmemory/status": {}, "POST /v2/cudasharedmemory/region/x/register": {},
		"POST /v2/models/m/generate": {}, "POST /v2/models/../infer": {}, "POST /v2/models//infer": {}, "POST /v2/models/m%2f/infer": {}, "GET /v2/models/m/infer": {}, "GET /v2/models/m/stats": {},
		"GET /v2/models/m/config": {}, "POST /v2/models/m/versions/../infer": {}, "POST /v2/logging": {}, "GET /v2/trace/setting": {},
	} {
		method, path, _ := strings.Cut(line, " ")
		got, ok := d.Match(method, path, "")
		if got != want || ok != (want.Op != "") {
			t.Errorf("%s is %+v, %v", line, got, ok)
		}
		if ok && d.Path(got, got.Model) != path {
			t.Errorf("%s goes to %s", line, d.Path(got, got.Model))
		}
	}
}

func TestGovernedFields(t *testing.T) {
	const in = `{"name":"x","shape":[1],"datatype":"FP32","data":[1]}`
	bodies := map[string]string{
		"request": `{%s"inputs":[` + in + `]}`, "input": `{"inputs":[{%s"name":"x","shape":[1],"datatype":"FP32","data":[1]}]}`,
		"output": `{"inputs":[` + in + `],"outputs":[{%s"name":"y"}]}`, "parameters": `{"inputs":[` + in + `],"parameters":{%s"sequence_id":1}}`,
	}
	for name, table := range oip.Tables() {
		dialecttest.Governed(t, oip.Dialect(), to, table, bodies[name])
	}
}

func TestDecode(t *testing.T) {
	body := `{"id":"1","inputs":[{"name":"a","shape":[2,2],"datatype":"FP32","data":[[1,2.5],[3,-4e1]]},{"name":"b","shape":[2],"datatype":"BYTES","data":["x","y"]},{"name":"c","shape":[1],"datatype":"UINT64","data":[18446744073709551615]}],"outputs":[{"name":"o","parameters":{"binary_data":true}}]}`
	r := dialecttest.Decode(t, oip.Dialect(), to, dialect.None, []byte(body), dialecttest.Options())
	if r == nil || len(r.Tensors) != 3 || r.Params.Rows != 2 || r.Task != chat.Classify || body[r.Tensors[0].Data.Start:r.Tensors[0].Data.End] != "[[1,2.5],[3,-4e1]]" {
		t.Fatalf("%+v", r)
	}
	if d := cmp.Diff([]string{"user/text:x", "user/text:y"}, dialecttest.Said(r)); d != "" {
		t.Error(d)
	}
	r.ForceJSON()
	b, err := r.Bytes()
	if err != nil || !strings.Contains(string(b), `"binary_data":false`) || !strings.HasSuffix(string(b), `,"parameters":{"binary_data_output":false}}`) {
		t.Errorf("%s, %v", b, err)
	}
}

func length(n int) dialect.Header {
	return func(name string) string {
		if name == dialect.HeadLength {
			return strconv.Itoa(n)
		}
		return ""
	}
}

func TestBinary(t *testing.T) {
	head := `{"inputs":[{"name":"a","shape":[2,1],"datatype":"FP16","parameters":{"binary_data_size":4}},{"name":"b","shape":[1],"datatype":"BYTES","parameters":{"binary_data_size":6}}]}`
	tail := append([]byte{1, 2, 3, 4}, append(binary.LittleEndian.AppendUint32(nil, 2), 'h', 'i')...)
	body := append([]byte(head), tail...)
	r := dialecttest.Decode(t, oip.Dialect(), to, length(len(head)), body, dialecttest.Options())
	if r == nil || !r.Tensors[0].Raw || string(body[r.Tensors[0].Data.Start:r.Tensors[0].Data.End]) != "\x01\x02\x03\x04" || string(r.Messages[0].Parts[0].Text) != "hi" {
		t.Fatalf("%+v", r)
	}
	r.ForceJSON()
	b, err := r.Bytes()
	if err != nil || !strings.HasSuffix(string(b), string(tail)) {
		t.Fatalf("%q, %v", b, err)
	}
	if h := r.Headers(); h[1].Value != strconv.Itoa(len(b)-len(tail)) {
		t.Errorf("%v", h)
	}
	for name, bad := range map[string]struct {
		n    int
		body string
	}{
		"short": {len(head), head + "\x01\x02"}, "long": {len(head), string(body) + "x"}, "length": {len(head) + 1, string(body)}, "past": {1000, string(body)}, "negative": {-1, string(body)},
		"element": {len(head), head + "\x01\x02\x03\x04\x09\x00\x00\x00hi"},
	} {
		if _, err := oip.Dialect().Decode(to, length(bad.n), []byte(bad.body), dialect.DefaultOptions()); !errors.Is(err, dialect.ErrRequest) && !errors.Is(err, wire.ErrSyntax) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := oip.Dialect().Decode(to, dialect.None, []byte(head), dialect.DefaultOptions()); !errors.Is(err, dialect.ErrRequest) {
		t.Errorf("without the header: %v", err)
	}
}

func TestRefused(t *testing.T) {
	in := func(s string) string { return `{"inputs":[{"name":"a",` + s + `}]}` }
	dialecttest.Refused(
		t, oip.Dialect(), to, `{}`, `{"inputs":[]}`, `{"inputs":[1]}`, in(`"shape":[1],"datatype":"FP32","data":[1,2]`), in(`"shape":[-1],"datatype":"FP32","data":[1]`),
		in(`"shape":[4611686018427387904,4],"datatype":"FP32","data":[]`), in(`"shape":[2147483648,2147483648,0],"datatype":"FP32","data":[]`), in(`"shape":[1],"datatype":"FP8","data":[1]`),
		in(`"shape":[1],"datatype":"INT8","data":[128]`), in(`"shape":[1],"datatype":"INT8","data":[1.5]`), in(`"shape":[1],"datatype":"BOOL","data":[2]`), in(`"shape":[1],"datatype":"FP32","data":["x"]`),
		in(`"shape":[1],"datatype":"BYTES","data":[1]`), in(`"shape":[1],"datatype":"FP32"`), in(`"datatype":"FP32","data":[1]`), in(`"shape":[1],"datatype":"FP32","data":[{"a":1}]`),
		in(`"shape":[1],"datatype":"FP32","data":[1],"parameters":{"shared_memory_region":"r"}`), in(`"shape":[1],"datatype":"FP32","data":[1],"parameters":{"Shared_Memory_Offset":0}`),
		`{"inputs":[{"name":"a","shape":[0],"datatype":"FP32","data":[]}],"outputs":[{"name":"o","parameters":{"shared_memory_byte_size":1}}]}`, in(`"shape":[5000],"datatype":"FP32","data":[]`),
		`{"inputs":[{"name":"a","shape":[0],"datatype":"FP32","data":[]},{"name":"a","shape":[0],"datatype":"FP32","data":[]}]}`,
	)
}

const whole = `{"model_name":"m","model_version":"3","outputs":[{"name":"p","shape":[2,3],"datatype":"FP32","data":[0.123456,0.7,0.2,[0.5,0.25,0.25]]},{"name":"l","shape":[1],"datatype":"BYTES","data":["cat"]}]}`

func TestAnswer(t *testing.T) {
	for want, s := range map[string]dialect.Shape{
		`[0,0.7,0,[0.5,0,0]]`:                {Top: 1},
		`[0,1,0,[1,0,0]]`:                    {LabelOnly: true},
		`[0.12,0.70,0.20,[0.50,0.25,0.25]]`:  {Round: true, Digits: 2},
		`[0.123456,0.7,0.2,[0.5,0.25,0.25]]`: {},
		`[0.0,0.7,0.2,[0.5,0.2,0.0]]`:        {Top: 2, Round: true, Digits: 1},
		`[0.623456,0.7,0.7,[0.5,0.5,0.5]]`:   {Noise: func(_, i int, _ float64) float64 { return []float64{0.5, 0, 0.6}[i] - 0 }},
	} {
		a := dialecttest.Answer(t, oip.Dialect(), to, dialect.None, []byte(whole))
		if a == nil || len(a.Scores) != 2 || string(a.Texts[0].Text) != "cat" || a.Model != "m" {
			t.Fatalf("%+v", a)
		}
		if err := a.Shape(s); err != nil {
			t.Fatal(err)
		}
		if b, err := a.Bytes(); err != nil || !strings.Contains(string(b), want) && s.Noise == nil {
			t.Errorf("%+v: %s, %v", s, b, err)
		}
	}
	head := `{"outputs":[{"name":"p","shape":[1,1],"datatype":"FP32","parameters":{"binary_data_size":4}}]}`
	a := dialecttest.Answer(t, oip.Dialect(), to, length(len(head)), []byte(head+"\x00\x00\x00\x00"))
	if a == nil {
		t.Fatal("refused")
	}
	if err := a.Shape(dialect.Shape{Top: 1}); !errors.Is(err, dialect.ErrAnswer) {
		t.Errorf("raw scores were shaped: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"inputs":[{"name":"a","shape":[2,1],"datatype":"FP16","parameters":{"binary_data_size":4}}]}abcd`), 89)
	f.Add([]byte(`{"inputs":[{"name":"a","shape":[2],"datatype":"BYTES","data":["x","y"]}]}`), 0)
	f.Fuzz(func(t *testing.T, b []byte, n int) {
		h := length(n)
		if n == 0 {
			h = dialect.None
		}
		r, err := oip.Dialect().Decode(to, h, b, dialecttest.Options())
		if err != nil {
			return
		}
		if n == 0 {
			dialecttest.Decode(t, oip.Dialect(), to, h, b, dialecttest.Options())
		}
		for _, x := range r.Tensors {
			if x.Data.Start < 0 || x.Data.End > len(b) || x.Data.Start > x.Data.End {
				t.Fatalf("%+v of %d bytes", x, len(b))
			}
		}
	})
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte(whole))
	f.Fuzz(func(t *testing.T, b []byte) { dialecttest.Answer(t, oip.Dialect(), to, dialect.None, b) })
}
