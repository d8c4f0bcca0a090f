package sight

import (
	"regexp"
	"strings"
)

var (
	idSyntax    = regexp.MustCompile(`^[A-Za-z0-9@][A-Za-z0-9._:/@+=~-]{0,199}$`)
	hubSyntax   = regexp.MustCompile(`^[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}$`)
	placeholder = regexp.MustCompile(`(?i)^(?:x+|\.+|-+|_+|none|null|true|false|auto|default|unknown|todo|tbd|n/?a|test|dummy|fake|mock|placeholder|example|changeme|string|str|model|models|name|id|model[-_ ]?(?:name|id|path|dir)|(?:your|my|the|some|any|an?)[-_ /].*|<.*>|\$.*|\{.*|.*/(?:your|my)[-_].*|user(?:name)?/(?:model|repo).*|org/(?:model|repo|name).*|owner/repo.*|path/to/.*|/path/to/.*|.*\b(?:your[-_](?:model|org|name|username|repo)|placeholder|foo/bar)\b.*)$`)
	commit      = regexp.MustCompile(`^[0-9a-f]{40}$`)
	digest      = regexp.MustCompile(`^(?:sha256:)?[0-9a-f]{64}$`)
)

// Pinned reports whether a revision cannot be moved: a commit, or a digest.
func Pinned(rev string) bool { return commit.MatchString(rev) || digest.MatchString(rev) }

// IsID is the last gate: whether a value can be the id of a model or dataset. A
// placeholder is none.
func IsID(s string) bool {
	return idSyntax.MatchString(s) && strings.ContainsAny(s, letters) && !placeholder.MatchString(s) && !strings.Contains(s, "//") && !strings.HasSuffix(s, "/") &&
		!strings.HasPrefix(s, "http:") && !strings.HasPrefix(s, "https:") && !strings.HasSuffix(s, ".py") && !strings.HasSuffix(s, ".")
}

const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

// IsHub reports whether s has the form org/name of a hub.
func IsHub(s string) bool { return hubSyntax.MatchString(s) && IsID(s) }

// WeightFile matches ends of names that are files.
var WeightFile = regexp.MustCompile(`(?i)\.(?:safetensors|gguf|ggml|onnx|pt|pth|bin|ckpt|pkl|pickle|joblib|dill|h5|hdf5|keras|pb|tflite|mlmodel|mlpackage|engine|plan|nemo|llamafile|npz|npy|mar|pmml|caffemodel|pdparams|msgpack|ot|skops|cbm|ubj|json|model|vec|t7|txt|csv|jsonl|parquet|zip|gz|tar|yaml|yml|index|faiss|sav|pickle5|bundle)$`)

// IsPath reports whether a value is the name of a file or folder rather than an
// id. exists asks whether the tree has it.
func IsPath(s string, exists func(string) bool) bool {
	switch {
	case s == "" || s == "." || s == "..":
		return s != ""
	case strings.HasPrefix(s, "/"), strings.HasPrefix(s, "./"), strings.HasPrefix(s, "../"), strings.HasPrefix(s, "~"), strings.Contains(s, `\`):
		return true
	case len(s) > 2 && s[1] == ':' && (s[2] == '/' || s[2] == '\\'):
		return true
	case WeightFile.MatchString(s) && !strings.HasPrefix(s, "hf-hub:"):
		return true
	case strings.Count(s, "/") > 1 && !strings.Contains(s, ":") && !strings.HasPrefix(s, "accounts/") && !strings.HasPrefix(s, "models/"):
		return true
	}
	return exists != nil && strings.Contains(s, "/") && exists(strings.TrimSuffix(s, "/"))
}

// HubURL reads an address on the hub: organisation and name, revision, file.
func HubURL(s string) (id, rev, file string, ok bool) {
	for _, p := range [...]string{"https://huggingface.co/", "http://huggingface.co/", "https://hf.co/", "https://hf-mirror.com/"} {
		rest, found := strings.CutPrefix(s, p)
		if !found {
			continue
		}
		parts := strings.Split(strings.TrimSuffix(rest, ".git"), "/")
		if len(parts) < 2 || parts[0] == "datasets" || parts[0] == "docs" || parts[0] == "spaces" || parts[0] == "blog" || parts[0] == "papers" || parts[0] == "api" {
			return "", "", "", false
		}
		id = parts[0] + "/" + parts[1]
		if !IsHub(id) {
			return "", "", "", false
		}
		if len(parts) > 4 && (parts[2] == "resolve" || parts[2] == "blob" || parts[2] == "raw") {
			rev, file = parts[3], strings.Join(parts[4:], "/")
			file, _, _ = strings.Cut(file, "?")
		}
		return id, rev, file, true
	}
	return "", "", "", false
}

// keyLike finds what may be a secret in a line that a report shows.
var keyLike = regexp.MustCompile(`(?i)\b((?:sk|pk|rk|gsk|xai|pplx|nvapi|csk|tvly|pcsk|lsv2|hf|r8|ghp|gho|glpat|xox[bp]|AKIA|AIza|eyJ)[-_A-Za-z0-9]{3})[-_A-Za-z0-9.]{9,}|((?:api[_-]?key|token|secret|password|passwd)["']?\s*[:=]\s*["']?[^\s"'<$({]{2})[^\s"'<$({]{6,}`)

// keyName is keyLike for names of assets, where hf-internal-testing/tiny is no
// secret: a prefix of keys, then at least 16 letters and digits in a row.
var keyName = regexp.MustCompile(`\b((?:(?:sk|pk|rk|gsk|xai|pplx|nvapi|csk|tvly|pcsk|lsv2|hf|r8|ghp|gho|glpat|xox[bp])[-_]|AKIA|AIza|eyJ)[A-Za-z0-9]{0,2})[-_A-Za-z0-9.]*?[A-Za-z0-9]{16}[-_A-Za-z0-9.]*`)

// userInfo is the name and password before the host of an address.
var userInfo = regexp.MustCompile(`(://)[^/?#\s"'@]*:[^/?#\s"'@]*@`)

// Name returns the name of an asset without the secrets in it: a key that a
// program takes for a model, the password in the address of a server.
func Name(s string) string {
	if strings.Contains(s, "://") {
		s = userInfo.ReplaceAllString(s, "$1…@")
	}
	return keyName.ReplaceAllString(s, "$1…")
}

// Redact hides the secrets in everything of a sighting that a report shows.
func (s *Sighting) Redact() {
	for _, f := range [...]*string{&s.Name, &s.Revision, &s.Version, &s.Dynamic, &s.Note} {
		*f = Name(*f)
	}
	for i := range s.Flags {
		s.Flags[i].Detail = Name(s.Flags[i].Detail)
	}
	for i := range s.Links {
		s.Links[i].Name = Name(s.Links[i].Name)
	}
}

// Snippet shortens a line of source for a report: at most 160 bytes, and what
// looks like a secret only by its beginning.
func Snippet(s string) string {
	const most = 160
	s = strings.TrimSpace(s)
	if len(s) > 4*most {
		s = s[:4*most]
	}
	s = userInfo.ReplaceAllString(keyLike.ReplaceAllString(s, "$1$2…"), "$1…@")
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x200b && r <= 0x200f || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most-3], "") + "…"
	}
	return s
}
