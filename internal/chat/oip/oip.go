// Package oip is the Open Inference Protocol over HTTP (KServe v2), with the
// binary tensor extension. Source: the protocol's REST specification and
// Triton's extension_binary_data. Shared memory and control of the repository
// are not known here: Triton's chain CVE-2025-23319, -23320, -23334 runs through
// them.
package oip

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/modelwarden/warden/internal/chat"
	"github.com/modelwarden/warden/internal/chat/dialect"
	"github.com/modelwarden/warden/internal/chat/wire"
)

// Name is that of the dialect.
const Name = "oip"

// Dialect returns the dialect. It has no streams.
func Dialect() *dialect.Dialect {
	return &dialect.Dialect{
		Name: Name, Match: match, Decode: decode, Answer: answer, Error: problem, Failed: failed, Models: models, Path: path,
		Keys:     []dialect.Key{{Header: "Authorization", Prefix: "Bearer "}},
		Request:  []string{dialect.HeadLength},
		Response: []string{"Retry-After", dialect.HeadLength},
	}
}

// match reads "/v2/models/{model}[/versions/{version}][/infer|/ready]" and the
// paths of the server.
func match(method, path, query string) (dialect.Target, bool) {
	no := dialect.Target{}
	if query != "" {
		return no, false
	}
	switch method + " " + path {
	case "GET /v2":
		return dialect.Target{Op: dialect.Metadata}, true
	case "GET /v2/health/live":
		return dialect.Target{Op: dialect.Live}, true
	case "GET /v2/health/ready":
		return dialect.Target{Op: dialect.Ready}, true
	}
	rest, ok := strings.CutPrefix(path, "/v2/models/")
	if !ok {
		return no, false
	}
	seg := strings.Split(rest, "/")
	t := dialect.Target{Model: seg[0], Op: dialect.Metadata}
	seg = seg[1:]
	if len(seg) >= 2 && seg[0] == "versions" {
		if t.Version = seg[1]; !dialect.PlainName(t.Version) {
			return no, false
		}
		seg = seg[2:]
	}
	want := "GET"
	switch {
	case len(seg) == 0:
	case len(seg) == 1 && seg[0] == "ready":
		t.Op = dialect.Ready
	case len(seg) == 1 && seg[0] == "infer":
		t.Op, want = dialect.Infer, "POST"
	default:
		return no, false
	}
	if method != want || !dialect.PlainName(t.Model) {
		return no, false
	}
	return t, true
}

func path(t dialect.Target, model string) string {
	if t.Model == "" {
		switch t.Op {
		case dialect.Live:
			return "/v2/health/live"
		case dialect.Ready:
			return "/v2/health/ready"
		}
		return "/v2"
	}
	p := "/v2/models/" + url.PathEscape(model)
	if t.Version != "" {
		p += "/versions/" + t.Version
	}
	switch t.Op {
	case dialect.Infer:
		return p + "/infer"
	case dialect.Ready:
		return p + "/ready"
	}
	return p
}

var (
	fields       = dialect.Fields(dialect.Row{How: dialect.Read, Names: "inputs outputs parameters"}, dialect.Row{How: dialect.Pass, Names: "id"})
	inputFields  = dialect.Fields(dialect.Row{How: dialect.Read, Names: "name shape datatype parameters data"})
	outputFields = dialect.Fields(dialect.Row{How: dialect.Read, Names: "name parameters"})
	paramFields  = dialect.Fields(
		dialect.Row{How: dialect.Never, Names: "shared_memory_region shared_memory_offset shared_memory_byte_size"},
		dialect.Row{How: dialect.Read, Names: "binary_data binary_data_output binary_data_size"},
		dialect.Row{How: dialect.Pass, Names: "classification sequence_id sequence_start sequence_end timeout content_type"},
		dialect.Row{How: dialect.Permit, Names: "priority headers"},
	)
)

// Tables returns what the dialect knows of fields, by the kind of object.
func Tables() map[string]*dialect.Table {
	return map[string]*dialect.Table{"request": fields, "input": inputFields, "output": outputFields, "parameters": paramFields}
}

// split parts a body into JSON and raw bytes, as the header says.
func split(h dialect.Header, body []byte) (head, tail []byte, binary bool, err error) {
	s := h(dialect.HeadLength)
	if s == "" {
		return body, nil, false, nil
	}
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil || s[0] == '+' || int(n) > len(body) {
		return nil, nil, true, dialect.Refuse("%s is not a length within the body", dialect.HeadLength)
	}
	return body[:n], body[n:], true, nil
}

func decode(t dialect.Target, h dialect.Header, body []byte, o dialect.Options) (*dialect.Request, error) {
	head, tail, binary, err := split(h, body)
	if err != nil {
		return nil, err
	}
	lim := o.Limits
	if len(body) > lim.Bytes {
		return nil, dialect.Refuse("a body of %d bytes, at most %d", len(body), lim.Bytes)
	}
	r, root, err := dialect.Begin(t, head, o)
	if err != nil {
		return nil, err
	}
	r.Tail = tail
	d := decoder{r: r, o: &o, head: len(head), tail: tail, binary: binary}
	if err := d.read(root); err != nil {
		return nil, err
	}
	return r, nil
}

// A decoder reads one request.
type decoder struct {
	r      *dialect.Request
	o      *dialect.Options
	head   int
	tail   []byte
	binary bool
	at     int // where the next raw tensor begins in tail
	user   chat.Message
}

func (d *decoder) read(root wire.Value) error {
	if err := fields.Check(d.r, "", root, d.o); err != nil {
		return err
	}
	if _, err := d.parameters("parameters", root); err != nil {
		return err
	}
	ins := root.Get("inputs")
	if ins.Kind() != wire.Array || ins.Len() == 0 {
		return dialect.Refuse("inputs is missing, empty or not an array")
	}
	d.user.Role = chat.User
	for in := range ins.Items() {
		if err := d.input(in); err != nil {
			return err
		}
	}
	if d.at != len(d.tail) {
		return dialect.Refuse("%d raw bytes belong to no input", len(d.tail)-d.at)
	}
	if len(d.user.Parts) > 0 {
		d.r.Messages = []chat.Message{d.user}
	}
	return d.outputs(root)
}

// parameters looks at the parameters of v and returns them.
func (d *decoder) parameters(where string, v wire.Value) (wire.Value, error) {
	p := v.Get("parameters")
	switch p.Kind() {
	case wire.Missing, wire.Null:
		return wire.Value{}, nil
	case wire.Object:
		return p, paramFields.Check(d.r, where, p, d.o)
	}
	return p, dialect.Refuse("%s is not an object", where)
}

func (d *decoder) outputs(root wire.Value) error {
	outs := root.Get("outputs")
	if k := outs.Kind(); k != wire.Array && k != wire.Missing && k != wire.Null {
		return dialect.Refuse("outputs is not an array")
	}
	var params []wire.Value
	for out := range outs.Items() {
		if out.Kind() != wire.Object {
			return dialect.Refuse("an output is not an object")
		}
		if err := outputFields.Check(d.r, "outputs", out, d.o); err != nil {
			return err
		}
		p, err := d.parameters("outputs.parameters", out)
		if err != nil {
			return err
		}
		params = append(params, p)
	}
	own := root.Get("parameters")
	d.r.Places.JSON = func(e *wire.Edits) {
		if own.Kind() == wire.Object {
			e.Set(own, "binary_data_output", []byte("false"))
		} else {
			e.Set(root, "parameters", []byte(`{"binary_data_output":false}`))
		}
		for _, p := range params {
			if p.Get("binary_data").Kind() != wire.Missing {
				e.Set(p, "binary_data", []byte("false"))
			}
		}
	}
	return nil
}

// input reads one tensor.
func (d *decoder) input(in wire.Value) error {
	if in.Kind() != wire.Object {
		return dialect.Refuse("an input is not an object")
	}
	if err := inputFields.Check(d.r, "inputs", in, d.o); err != nil {
		return err
	}
	p, err := d.parameters("inputs.parameters", in)
	if err != nil {
		return err
	}
	t := chat.Tensor{}
	var ok bool
	if t.Name, ok = in.Get("name").Text(); !ok || t.Name == "" {
		return dialect.Refuse("an input has no name")
	}
	if slices.ContainsFunc(d.r.Tensors, func(o chat.Tensor) bool { return o.Name == t.Name }) {
		return dialect.Refuse("input %q is there twice", t.Name)
	}
	t.Datatype, _ = in.Get("datatype").Text()
	if _, known := Sizes()[t.Datatype]; !known {
		return dialect.Refuse("input %q: datatype %q is not known", t.Name, t.Datatype)
	}
	if in.Get("shape").Kind() != wire.Array {
		return dialect.Refuse("input %q has no shape", t.Name)
	}
	for s := range in.Get("shape").Items() {
		n, ok := s.Int()
		if !ok {
			return dialect.Refuse("input %q: a dimension is not a whole number", t.Name)
		}
		t.Shape = append(t.Shape, n)
	}
	count, err := Count(t.Shape)
	if err != nil {
		return dialect.Refuse("input %q: %w", t.Name, err)
	}
	if err := d.data(in, p, &t, count); err != nil {
		return dialect.Refuse("input %q: %w", t.Name, err)
	}
	if len(t.Shape) > 0 {
		d.r.Params.Rows = max(d.r.Params.Rows, t.Shape[0])
	}
	if most := d.o.Caps.Rows; most > 0 && d.r.Params.Rows > most {
		return dialect.Refuse("input %q has %d rows, at most %d", t.Name, d.r.Params.Rows, most)
	}
	d.r.Tensors = append(d.r.Tensors, t)
	return nil
}

// data finds the data of a tensor of count elements.
func (d *decoder) data(in, params wire.Value, t *chat.Tensor, count int64) error {
	data, size := in.Get("data"), params.Get("binary_data_size")
	if size.Kind() != wire.Missing {
		n, ok := size.Int()
		switch {
		case !d.binary:
			return dialect.Refuse("binary_data_size without %s", dialect.HeadLength)
		case data.Kind() != wire.Missing:
			return dialect.Refuse("data both as JSON and as raw bytes")
		case !ok || n < 0 || n > int64(len(d.tail)-d.at):
			return dialect.Refuse("binary_data_size is not a length within the raw bytes")
		}
		raw := d.tail[d.at : d.at+int(n)]
		t.Raw, t.Data = true, chat.Span{Start: d.head + d.at, End: d.head + d.at + int(n)}
		d.at += int(n)
		texts, err := Raw(t.Datatype, count, raw)
		for _, s := range texts {
			d.user.Parts = append(d.user.Parts, TextOf(s))
		}
		return err
	}
	if data.Kind() != wire.Array {
		return dialect.Refuse("it has no data")
	}
	t.Data = dialect.SpanOf(data)
	n := int64(0)
	for _, v := range data.All() {
		if v.Kind() == wire.Array {
			continue
		}
		if n++; !fits(t.Datatype, v) {
			return dialect.Refuse("element %d is no %s", n-1, t.Datatype)
		}
		if v.Kind() == wire.String {
			d.user.Parts = append(d.user.Parts, dialect.TextPart(chat.Text, v))
		}
	}
	if n != count {
		return dialect.Refuse("%d elements for a shape of %d", n, count)
	}
	return nil
}

func problem(p dialect.Problem) []byte {
	return append(wire.AppendString([]byte(`{"error":`), []byte(p.Message)), '}')
}

func failed(root wire.Value) bool { return root.Get("error").Kind() == wire.String }

// models is not part of the protocol's paths; it is what a list would be.
func models(names []string) []byte {
	b := []byte(`{"models":[`)
	for i, n := range names {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(wire.AppendString(append(b, `{"name":`...), []byte(n)), '}')
	}
	return append(b, "]}"...)
}
