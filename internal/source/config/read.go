package config

import (
	"bytes"
	"context"
	"path"
	"strings"

	"github.com/modelwarden/warden/internal/source/notebook"
	"github.com/modelwarden/warden/internal/source/sight"
)

// Wants reports whether [Read] reads the file at p.
func Wants(p string) bool {
	base := strings.ToLower(path.Base(p))
	return strings.HasPrefix(base, "requirements") && strings.HasSuffix(base, ".txt")
}

// Read reads the file at p.
func Read(_ context.Context, p string, data []byte) Doc {
	var d Doc
	for i, line := range bytes.Split(data, []byte{'\n'}) {
		text := strings.TrimSpace(string(line))
		end := strings.IndexAny(text, " ;#=<>!~[")
		if end < 0 {
			end = len(text)
		}
		if end == 0 || text[0] == '-' {
			continue
		}
		name := strings.ToLower(strings.NewReplacer("_", "-", ".", "-").Replace(text[:end]))
		version, _, _ := strings.Cut(strings.TrimSpace(text[end:]), ";")
		version, _, _ = strings.Cut(version, "#")
		d.Packages = append(d.Packages, Package{Ecosystem: "pypi", Name: name, Version: strings.TrimSpace(version), At: sight.Place{Path: p, Line: i + 1, Snippet: text}})
	}
	return d
}

// Shell reads command lines for what they download and run.
func Shell(_ context.Context, p string, lines []notebook.Line) Doc { return Doc{} }
