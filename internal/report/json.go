package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// A Writer receives a report piece by piece, so that a scan of any size runs in
// constant memory.
type Writer interface {
	Begin(tool Tool, started time.Time) error
	Target(t Target) error
	End(s Summary, took time.Duration) error
}

// NewJSON returns a Writer of the JSON contract.
func NewJSON(w io.Writer) Writer { return &jsonWriter{w: w} }

type jsonWriter struct {
	w     io.Writer
	wrote bool
}

func (j *jsonWriter) Begin(tool Tool, started time.Time) error {
	t, err := marshal(tool, "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(j.w, "{\n  \"schema\": %q,\n  \"tool\": %s,\n  \"started\": %q,\n  \"targets\": [", Schema, t, started.UTC().Format(time.RFC3339))
	return err
}

func (j *jsonWriter) Target(t Target) error {
	b, err := marshal(t, "    ")
	if err != nil {
		return err
	}
	sep := "\n    "
	if j.wrote {
		sep = ",\n    "
	}
	j.wrote = true
	_, err = fmt.Fprintf(j.w, "%s%s", sep, b)
	return err
}

func (j *jsonWriter) End(s Summary, took time.Duration) error {
	b, err := marshal(s, "  ")
	if err != nil {
		return err
	}
	end := "]"
	if j.wrote {
		end = "\n  ]"
	}
	_, err = fmt.Fprintf(j.w, "%s,\n  \"summary\": %s,\n  \"duration_ms\": %d\n}\n", end, b, took.Milliseconds())
	return err
}

// marshal indents v without escaping <, > and &, which evidence often holds.
func marshal(v any, prefix string) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent(prefix, "  ")
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(buf.Bytes()), nil
}
