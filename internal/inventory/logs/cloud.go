package logs

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/modelwarden/warden/internal/source/config"
	"github.com/modelwarden/warden/internal/source/sight"
)

// record has the fields of all the logs in JSON that are understood; absent ones
// are empty.
type record struct {
	// AWS CloudTrail
	EventSource string    `json:"eventSource"`
	EventName   string    `json:"eventName"`
	EventTime   time.Time `json:"eventTime"`
	Identity    struct {
		ARN  string `json:"arn"`
		Name string `json:"userName"`
	} `json:"userIdentity"`
	Request struct {
		ModelID  string `json:"modelId"`
		Endpoint string `json:"endpointName"`
		Agent    string `json:"agentId"`
	} `json:"requestParameters"`

	// Azure
	ResourceID string          `json:"resourceId"`
	Operation  json.RawMessage `json:"operationName"`
	Caller     string          `json:"caller"`
	Time       string          `json:"time"`
	Properties json.RawMessage `json:"properties"`

	// Google
	Proto struct {
		Service  string `json:"serviceName"`
		Method   string `json:"methodName"`
		Resource string `json:"resourceName"`
		Auth     struct {
			Email string `json:"principalEmail"`
		} `json:"authenticationInfo"`
	} `json:"protoPayload"`
	Timestamp string `json:"timestamp"`

	// Access logs and DNS in JSON
	Host      string `json:"host"`
	Authority string `json:"authority"`
	Name      string `json:"server_name"`
	HTTPHost  string `json:"http_host"`
	URL       string `json:"url"`
	Query     string `json:"query"`
	QName     string `json:"qname"`
	Client    string `json:"client_ip"`
	Remote    string `json:"remote_addr"`
	Src       string `json:"src_ip"`
	User      string `json:"user"`
	ClientAlt string `json:"client"`
	TS        string `json:"ts"`
	StartTime string `json:"start_time"`
	TimeLocal string `json:"time_iso8601"`
}

// object understands one line of JSON.
func (r *Reader) object(s string) string {
	var x record
	if err := json.Unmarshal([]byte(s), &x); err != nil {
		// A field of an unexpected type does not hide the others.
		if _, ok := errors.AsType[*json.UnmarshalTypeError](err); !ok {
			return ""
		}
	}
	return r.cloud(&x)
}

func (r *Reader) cloud(x *record) string {
	switch {
	case x.EventSource != "":
		r.cloudTrail(x)
		return "cloudtrail"
	case x.Proto.Service != "":
		if x.Proto.Service == "aiplatform.googleapis.com" || x.Proto.Service == "generativelanguage.googleapis.com" || x.Proto.Service == "ml.googleapis.com" {
			p := "vertex-ai"
			if x.Proto.Service == "generativelanguage.googleapis.com" {
				p = "google"
			}
			r.use(Use{Provider: p, Model: after(x.Proto.Resource, "/models/"), Host: x.Proto.Service, Client: x.Proto.Auth.Email, Source: "google", First: parseTime(x.Timestamp)})
		}
		return "google"
	case x.ResourceID != "" && len(x.Operation) > 0:
		if up := strings.ToUpper(x.ResourceID); strings.Contains(up, "MICROSOFT.COGNITIVESERVICES") || strings.Contains(up, "MICROSOFT.MACHINELEARNINGSERVICES") {
			var props struct {
				Model      string `json:"modelName"`
				Deployment string `json:"modelDeploymentName"`
			}
			if json.Unmarshal(x.Properties, &props) != nil {
				var text string
				if json.Unmarshal(x.Properties, &text) == nil && json.Unmarshal([]byte(text), &props) != nil {
					props.Model = ""
				}
			}
			model := props.Model
			if model == "" {
				model = props.Deployment
			}
			if model == "" {
				model = after(x.ResourceID, "/deployments/")
			}
			r.use(Use{Provider: "azure-openai", Model: model, Host: strings.ToLower(after(strings.ToLower(x.ResourceID), "/accounts/")), Client: x.Caller, Source: "azure", First: parseTime(x.Time)})
		}
		return "azure"
	}
	host, kind := "", "proxy"
	for _, h := range [...]string{x.Authority, x.Name, x.HTTPHost, x.Host, hostOf(x.URL)} {
		if host == "" {
			host = h
		}
	}
	if host == "" {
		host, kind = x.Query+x.QName, "dns"
	}
	if host == "" {
		return ""
	}
	who, at := "", ""
	for _, c := range [...]string{x.User, x.Client, x.Remote, x.Src, x.ClientAlt} {
		if who == "" {
			who = c
		}
	}
	for _, c := range [...]string{x.Timestamp, x.TS, x.StartTime, x.TimeLocal, x.Time} {
		if at == "" {
			at = c
		}
	}
	r.host(kind, host, who, parseTime(at))
	return "json"
}

func (r *Reader) cloudTrail(x *record) {
	var provider string
	switch x.EventSource {
	case "bedrock.amazonaws.com", "bedrock-runtime.amazonaws.com", "bedrock-agent-runtime.amazonaws.com":
		provider = "aws-bedrock"
	case "sagemaker.amazonaws.com", "runtime.sagemaker.amazonaws.com":
		provider = "aws-sagemaker"
	case "comprehend.amazonaws.com", "rekognition.amazonaws.com", "textract.amazonaws.com", "transcribe.amazonaws.com", "polly.amazonaws.com":
		provider = "aws-ai"
	default:
		return
	}
	model := x.Request.ModelID
	if i := strings.LastIndex(model, "/"); i >= 0 && strings.HasPrefix(model, "arn:") {
		model = model[i+1:]
	}
	if model == "" {
		model = x.Request.Endpoint + x.Request.Agent
	}
	who := x.Identity.ARN
	if who == "" {
		who = x.Identity.Name
	}
	r.use(Use{Provider: provider, Model: model, Host: x.EventSource, Client: who, Source: "cloudtrail", First: x.EventTime.UTC()})
}

func after(s, mark string) string {
	_, rest, ok := strings.Cut(s, mark)
	if !ok {
		return ""
	}
	rest, _, _ = strings.Cut(rest, "/")
	rest, _, _ = strings.Cut(rest, ":")
	return rest
}

// document reads a log that is one JSON document: records in a list, or a list
// of Kubernetes.
func (r *Reader) document(ctx context.Context, f *File, b *bufio.Reader) error {
	in := &io.LimitedReader{R: b, N: mostDump}
	var buf bytes.Buffer
	d := json.NewDecoder(io.TeeReader(in, &buf))
	t, err := d.Token()
	if err != nil {
		return err
	}
	if t == json.Delim('{') {
		for d.More() {
			key, err := d.Token()
			if err != nil {
				return err
			}
			if key == "Records" || key == "records" || key == "entries" {
				if t, err = d.Token(); err != nil || t != json.Delim('[') {
					return fmt.Errorf("%v is no list: %w", key, errors.Join(err, errForm))
				}
				return r.records(ctx, f, d, &buf)
			}
			if key == "kind" || key == "apiVersion" || key == "items" {
				rest, err := io.Copy(&buf, in)
				if err != nil || in.N == 0 {
					return errors.Join(err, fmt.Errorf("more than %d bytes in one document", int64(mostDump)))
				}
				_ = rest
				return r.kubernetes(f, buf.String())
			}
			var skip json.RawMessage
			if err := d.Decode(&skip); err != nil {
				return err
			}
		}
		return errForm
	}
	return r.records(ctx, f, d, &buf)
}

var errForm = errors.New("a JSON document that is no log: neither Records nor items of Kubernetes (hint: for logs of JSON lines put each object on its own line)")

func (r *Reader) records(ctx context.Context, f *File, d *json.Decoder, buf *bytes.Buffer) error {
	for d.More() {
		buf.Reset()
		var x record
		err := d.Decode(&x)
		var t *json.UnmarshalTypeError
		if err != nil && !errors.As(err, &t) {
			return err
		}
		f.Lines++
		if kind := r.cloud(&x); kind != "" {
			f.Formats[kind]++
		} else {
			r.unread(f)
		}
		if f.Lines%4096 == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}

// kubernetes reads what kubectl get -o json writes.
func (r *Reader) kubernetes(f *File, text string) error {
	v, problem := config.JSON(text)
	if v == nil || problem > 0 {
		return fmt.Errorf("line %d: the document does not parse", problem)
	}
	items := []*config.Value{v}
	if l := v.Get("items"); l != nil {
		items = l.Kids
	}
	for _, k := range items {
		f.Lines++
		f.Formats["kubernetes"]++
		name := k.At("metadata", "namespace")
		where := ""
		if name != nil {
			where = name.Text + "/"
		}
		if n := k.At("metadata", "name"); n != nil {
			where += n.Text
		}
		d := config.Kubernetes("", k)
		for i := range d.Sightings {
			s := &d.Sightings[i]
			switch s.Kind {
			case sight.Model:
				r.use(Use{Provider: s.Provider, Model: s.Name, Client: where, Source: "kubernetes"})
			case sight.Container:
				r.use(Use{Provider: "container", Model: s.Name, Client: where, Source: "kubernetes"})
			default:
			}
		}
	}
	return nil
}
