package monitor

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// A packing is the memory that writing a batch needs, used again for the next.
type packing struct {
	lines  []byte // the records, one JSON a line
	leaf   []byte
	stack  []tlog.Hash
	packed []byte
}

// fill encodes records and returns the root of the tree over their bytes.
func (p *packing) fill(records []Record) (tlog.Hash, error) {
	p.lines, p.stack = p.lines[:0], p.stack[:0]
	for i := range records {
		from := len(p.lines)
		var err error
		if p.lines, err = records[i].appendJSON(p.lines); err != nil {
			return tlog.Hash{}, fmt.Errorf("keep record %d: %w", records[i].Number, err)
		}
		p.leaf = append(append(p.leaf[:0], 0), p.lines[from:]...) // RFC 6962, section 2.1
		p.stack = append(p.stack, sha256.Sum256(p.leaf))
		for n := i; n&1 == 1; n >>= 1 { // each full pair has a node of its own
			p.merge()
		}
		p.lines = append(p.lines, '\n')
	}
	for len(p.stack) > 1 {
		p.merge()
	}
	return p.stack[0], nil
}

// merge puts a node over the two that are last.
func (p *packing) merge() {
	n := len(p.stack)
	p.stack[n-2] = tlog.NodeHash(p.stack[n-2], p.stack[n-1])
	p.stack = p.stack[:n-1]
}

// appendJSON appends the bytes that encoding/json makes of a record, without its
// reflection: two records of every exchange go through here.
func (r *Record) appendJSON(b []byte) ([]byte, error) {
	if y := r.At.Year(); y < 0 || y > 9999 {
		return nil, fmt.Errorf("time in the year %d", y)
	}
	b = strconv.AppendInt(append(b, `{"n":`...), r.Number, 10)
	b = appendText(append(b, `,"step":`...), string(r.Step))
	b = r.At.AppendFormat(append(b, `,"at":"`...), time.RFC3339Nano)
	b = appendText(append(b, `","request":`...), r.Request)
	b = appendSome(b, "principal", r.Principal)
	b = appendSome(b, "key", r.Key)
	b = appendList(b, "groups", r.Groups)
	b = appendText(append(b, `,"route":`...), r.Route)
	b = appendSome(b, "dialect", r.Dialect)
	b = appendSome(b, "digest", r.Digest)
	b = appendSome(b, "provider", r.Provider)
	b = appendSome(b, "policies", r.Policies)
	b = appendList(b, "because", r.Because)

	b = appendCount(b, "status", int64(r.Status))
	b = appendSome(b, "code", r.Code)
	b = appendSome(b, "end", r.End)
	b = appendTrue(b, "stream", r.Stream)
	b = appendCount(b, "input_tokens", r.Input)
	b = appendCount(b, "output_tokens", r.Output)
	b = appendCount(b, "rows", r.Rows)
	b = appendTrue(b, "estimated", r.Guessed)
	b = appendCount(b, "cost", r.Cost)
	b = appendCount(b, "request_bytes", r.Asked)
	b = appendCount(b, "answer_bytes", r.Sent)
	b = appendSome(b, "request_sha256", r.Body)
	b = appendSome(b, "upstream_model", r.Model)
	b = appendSome(b, "guard", string(r.Guard))
	if len(r.Found) > 0 {
		b = append(b, `,"found":{`...)
		for i, name := range slices.Sorted(maps.Keys(r.Found)) {
			if i > 0 {
				b = append(b, ',')
			}
			b = strconv.AppendInt(append(appendText(b, name), ':'), int64(r.Found[name]), 10)
		}
		b = append(b, '}')
	}
	if len(r.Places) > 0 {
		b = append(b, `,"places":[`...)
		for i, p := range r.Places {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendText(append(b, `{"rule":`...), string(p.Rule))
			b = appendText(append(b, `,"at":`...), p.At)
			b = strconv.AppendInt(append(b, `,"start":`...), p.Start, 10)
			b = strconv.AppendInt(append(b, `,"end":`...), p.End, 10)
			b = append(appendText(append(b, `,"did":`...), string(p.Did)), '}')
		}
		b = append(b, ']')
	}
	b = appendList(b, "partial", r.Partial)

	b = appendCount(b, "own_us", r.Own)
	b = appendCount(b, "guard_us", r.Guess)
	b = appendCount(b, "first_ms", r.First)
	b = appendCount(b, "took_ms", r.Took)
	return append(b, '}'), nil
}

func appendName(b []byte, name string) []byte {
	return append(append(append(b, ',', '"'), name...), '"', ':')
}

func appendSome(b []byte, name, s string) []byte {
	if s == "" {
		return b
	}
	return appendText(appendName(b, name), s)
}

func appendCount(b []byte, name string, n int64) []byte {
	if n == 0 {
		return b
	}
	return strconv.AppendInt(appendName(b, name), n, 10)
}

func appendTrue(b []byte, name string, yes bool) []byte {
	if !yes {
		return b
	}
	return append(appendName(b, name), "true"...)
}

func appendList(b []byte, name string, list []string) []byte {
	if len(list) == 0 {
		return b
	}
	b = append(appendName(b, name), '[')
	for i, s := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendText(b, s)
	}
	return append(b, ']')
}

// appendText appends a JSON string. What is not plain ASCII is encoding/json's.
func appendText(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			var text bytes.Buffer
			enc := json.NewEncoder(&text)
			enc.SetEscapeHTML(false)
			enc.Encode(s) //nolint:errcheck,errchkjson // a string in memory
			return append(b, bytes.TrimSuffix(text.Bytes(), []byte("\n"))...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}
