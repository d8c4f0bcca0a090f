// Package owners reads CODEOWNERS files: who answers for which paths of a source
// tree. The form is that of GitHub and GitLab: one pattern and its owners on a
// line, the last pattern that matches a path counts.
package owners

import (
	"bufio"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Places are where hosts look for the file, first match first.
func Places() []string {
	return []string{".github/CODEOWNERS", "CODEOWNERS", "docs/CODEOWNERS", ".gitlab/CODEOWNERS"}
}

// Bounds of a file.
const (
	maxBytes = 3 << 20 // as GitHub has it
	maxRules = 20_000
	maxLine  = 4096
)

// A File is a CODEOWNERS file.
type File struct{ rules []rule }

type rule struct {
	pattern string
	match   *regexp.Regexp
	owner   string // "" takes the owner away
}

// Parse reads a file, which may be hostile: a line that cannot be understood is
// left out, as hosts do, and beyond the bounds nothing is read.
func Parse(r io.Reader) *File {
	f := &File{}
	lines := bufio.NewScanner(io.LimitReader(r, maxBytes))
	lines.Buffer(make([]byte, maxLine), maxLine)
	defaults := ""
	for lines.Scan() && len(f.rules) < maxRules {
		line := strings.TrimSpace(lines.Text())
		if i := strings.Index(line, " #"); i >= 0 {
			line = strings.TrimSpace(line[:i])
		}
		if line == "" || line[0] == '#' {
			continue
		}
		if line[0] == '[' || line[0] == '^' { // a section of GitLab, with owners for lines that name none
			defaults = ""
			if _, rest, ok := strings.Cut(line, "]"); ok {
				if i := strings.Index(rest, "]"); strings.HasPrefix(rest, "[") && i >= 0 {
					rest = rest[i+1:]
				}
				defaults = first(strings.Fields(rest))
			}
			continue
		}
		fields := strings.Fields(strings.ReplaceAll(line, `\ `, "\x00"))
		pattern := strings.ReplaceAll(fields[0], "\x00", " ")
		if strings.HasPrefix(pattern, "!") {
			continue
		}
		re, err := regexp.Compile(expression(pattern))
		if err != nil {
			continue
		}
		owner := first(fields[1:])
		if owner == "" {
			owner = defaults
		}
		f.rules = append(f.rules, rule{pattern, re, owner})
	}
	return f
}

func first(fields []string) string {
	if len(fields) == 0 {
		return ""
	}
	return fields[0]
}

// Owner returns the first owner that the last matching line names, or "".
func (f *File) Owner(name string) string {
	name = strings.TrimPrefix(path.Clean(name), "/")
	for _, r := range slices.Backward(f.rules) {
		if r.match.MatchString(name) {
			return r.owner
		}
	}
	return ""
}

// expression translates a pattern: without a slash in it, it matches at any
// depth; a folder matches what is in it.
func expression(p string) string {
	anchored := strings.Contains(strings.TrimSuffix(p, "/"), "/")
	folder := strings.HasSuffix(p, "/")
	p = strings.Trim(p, "/")
	b := "^"
	if !anchored {
		b += "(?:.*/)?"
	}
	b += translate(p)
	switch {
	case folder:
		b += "/.*"
	case strings.HasSuffix(p, "/*"): // only what is in the folder itself
	default:
		b += "(?:/.*)?"
	}
	return b + "$"
}

func translate(p string) string {
	var b strings.Builder
	for i := 0; i < len(p); i++ {
		switch {
		case strings.HasPrefix(p[i:], "**/"):
			b.WriteString("(?:.*/)?")
			i += 2
		case strings.HasPrefix(p[i:], "**"):
			b.WriteString(".*")
			i++
		case p[i] == '*':
			b.WriteString("[^/]*")
		case p[i] == '?':
			b.WriteString("[^/]")
		default:
			b.WriteString(regexp.QuoteMeta(p[i : i+1]))
		}
	}
	return b.String()
}

// Match reports whether a glob matches the whole of s: * and ? within a segment
// between slashes, ** across. Case does not count.
func Match(glob, s string) bool {
	re, err := regexp.Compile("(?i)^" + translate(glob) + "$")
	return err == nil && re.MatchString(s)
}
