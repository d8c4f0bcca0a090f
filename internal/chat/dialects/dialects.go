// Package dialects lists the dialects and finds the one that a request speaks.
package dialects

import (
	"github.com/modelwarden/warden/internal/chat/anthropic"
	"github.com/modelwarden/warden/internal/chat/dialect"
	"github.com/modelwarden/warden/internal/chat/gemini"
	"github.com/modelwarden/warden/internal/chat/oip"
	"github.com/modelwarden/warden/internal/chat/ollama"
	"github.com/modelwarden/warden/internal/chat/openai"
)

// All returns the dialects whose paths are fixed, in the order in which they are
// tried. The generic one has paths of its own, from routes.
func All() []*dialect.Dialect {
	return []*dialect.Dialect{openai.Dialect(), anthropic.Dialect(), gemini.Dialect(), ollama.Dialect(), oip.Dialect()}
}

// Named returns the dialect of that name, or nil.
func Named(name string) *dialect.Dialect {
	for _, d := range All() {
		if d.Name == name {
			return d
		}
	}
	return nil
}

// Match returns the first of ds that knows a request line; the path as it was
// sent. Two dialects list their models at one path: whose client it is, its
// version header says.
func Match(ds []*dialect.Dialect, method, path, query string, h dialect.Header) (*dialect.Dialect, dialect.Target, bool) {
	for _, d := range ds {
		t, ok := d.Match(method, path, query)
		if !ok || t.Op == dialect.Models && d.Name == openai.Name && h(anthropic.VersionHeader) != "" {
			continue
		}
		return d, t, true
	}
	return nil, dialect.Target{}, false
}
