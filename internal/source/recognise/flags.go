package recognise

import (
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/modelwarden/warden/internal/source/flow"
	"github.com/modelwarden/warden/internal/source/sight"
	"github.com/modelwarden/warden/internal/source/syntax"
)

// truth is what a switch is set to.
type truth uint8

const (
	absent truth = iota
	off
	maybe
	on
)

// setting reads a switch: want is the value that counts as on.
func (m *matcher) setting(c *call, slotName, want string) truth {
	s, ok, rest := m.passed(c, slotName)
	if !ok {
		return absent
	}
	vs := m.walk(s.Values, rest, false, 0)
	if len(rest) > 0 && len(vs) == 0 {
		return absent
	}
	yes, no, open := false, false, s.Unknown || len(vs) == 0
	fallback := false // every value that is on is only a default
	for _, v := range vs {
		switch v.Kind {
		case flow.Bool, flow.String, flow.Number:
			if strings.EqualFold(v.Text, want) {
				yes = true
				fallback = fallback || v.Default
			} else {
				no = no || v.Text != ""
				open = open || v.Text == ""
			}
		case flow.None:
			no = true
		default:
			open = true
		}
	}
	switch {
	case yes && !no && !open:
		return on
	case yes && fallback && open && !no:
		return on
	case yes || open:
		return maybe
	}
	return off
}

// flags looks for what is unsafe at a call.
func (m *matcher) flags(c *call, t text) []sight.Flag {
	var out []sight.Flag
	for _, name := range c.row.Unsafe {
		u := m.rows.unsafe[name]
		if f, ok := m.flag(c, u.Flag, u.When, u.Package, t); ok {
			out = append(out, f)
		}
	}
	if c.row.Base != "" {
		out = append(out, m.clientFlags(c)...)
	}
	return out
}

// loads says what the call executes of what it loads: "safe" where an argument
// that is known makes the loader a safe one. Before torch 2.6 weights_only does
// not (CVE-2025-32434); a version that is not known does not count as newer.
func (m *matcher) loads(c *call) string {
	if c.row.Loads == "" {
		return ""
	}
	if m.setting(c, "kw:use_safetensors", "true") == on || m.setting(c, "kw:safe_mode", "true") == on {
		return "safe"
	}
	if m.setting(c, "kw:weights_only", "true") == on {
		if older, known := m.older("torch<2.6"); known && !older {
			return "safe"
		}
	}
	return c.row.Loads
}

// flag tests one rule of the catalogue.
func (m *matcher) flag(c *call, name, when, pkg string, t text) (sight.Flag, bool) {
	f := sight.Flag{Flag: name, At: m.place(c.site.Unit, c.site.Node, "")}
	switch {
	case strings.HasPrefix(when, "kw:"):
		slots, want, _ := strings.Cut(strings.TrimPrefix(when, "kw:"), "=")
		for s := range strings.SplitSeq(slots, "|") {
			switch m.setting(c, "kw:"+s, want) {
			case on:
				return m.at2(c, f, s), true
			case maybe:
				f.Conditional = true
				return m.at2(c, f, s), true
			default:
			}
		}
		return f, false
	case strings.HasPrefix(when, "absent:"):
		if _, ok, _ := m.passed(c, strings.TrimPrefix(when, "absent:")); ok {
			return f, false
		}
		older, known := m.older(pkg)
		f.Conditional = !known
		return f, older || !known
	case strings.HasPrefix(when, "path:"):
		for ext := range strings.SplitSeq(strings.TrimPrefix(when, "path:"), "|") {
			if strings.HasSuffix(strings.ToLower(t.s), ext) {
				return f, true
			}
		}
		return f, false
	case when == "torch_hub":
		return f, m.torchHub(c)
	case when == "call":
		f.Conditional = c.row.Quiet || name == "pickle" && c.row.ID != "" && !strings.HasPrefix(c.path, "mlflow")
		return f, true
	case name == "revision_unpinned":
		if t.dynamic || t.s == "" && !t.open || sight.IsPath(t.s, m.in.Exists) || sight.Pinned(m.read(c, c.row.Rev).first()) {
			return f, false
		}
		rev := m.read(c, c.row.Rev)
		f.Conditional = rev.present && rev.first() == ""
		return f, true
	}
	return f, false
}

// at2 moves a flag to the line of its argument.
func (m *matcher) at2(c *call, f sight.Flag, kw string) sight.Flag {
	if n := argumentNode(c.site.Node, "kw:"+kw); n != nil {
		f.At = m.place(c.site.Unit, n, "")
	}
	return f
}

// torchHub tells whether a repository is pinned to a commit and trusted by a person.
func (m *matcher) torchHub(c *call) bool {
	if m.setting(c, "kw:source", "local") == on {
		return false
	}
	if m.setting(c, "kw:trust_repo", "True") == on || m.setting(c, "kw:skip_validation", "True") == on {
		return true
	}
	_, rev, _ := strings.Cut(m.read(c, c.row.ID).first(), ":")
	return !sight.Pinned(rev)
}

var version = regexp.MustCompile(`\d+(?:\.\d+)*`)

// older reports whether the tree requires a version of a package that may be
// older than in "torch<2.6", and whether it says so at all.
func (m *matcher) older(rule string) (older, known bool) {
	name, limit, _ := strings.Cut(rule, "<")
	for _, p := range m.in.Packages {
		if p.Ecosystem != "pypi" || p.Name != name {
			continue
		}
		v := version.FindString(p.Version)
		switch {
		case v == "":
			continue
		case strings.HasPrefix(p.Version, "<") && !strings.Contains(p.Version, ">"):
			return true, true
		case strings.HasPrefix(p.Version, "<"), strings.HasPrefix(p.Version, ">"), strings.HasPrefix(p.Version, "^"), strings.HasPrefix(p.Version, "~"):
			// ">=2.1" installs the newest: only a locked or exact version is one.
			if compareVersions(v, limit) >= 0 {
				return false, true
			}
			if p.Locked {
				return true, true
			}
			known = false
		default:
			return compareVersions(v, limit) < 0, true
		}
	}
	return false, known
}

func compareVersions(a, b string) int {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range max(len(as), len(bs)) {
		x, y := 0, 0
		if i < len(as) {
			x, _ = strconv.Atoi(as[i])
		}
		if i < len(bs) {
			y, _ = strconv.Atoi(bs[i])
		}
		if x != y {
			return x - y
		}
	}
	return 0
}

// flagsOnly reports a call that is unsafe without being an asset.
func (m *matcher) flagsOnly(c *call) {
	flags := m.flags(c, text{})
	if len(flags) == 0 {
		return
	}
	s := m.base(c, sight.Framework, c.row.Framework)
	s.Flags = flags
	m.out = append(m.out, s)
}

// anyCall looks for switches that are unsafe at every call.
func (m *matcher) anyCall(c *call) {
	n := c.site.Node
	if n == nil || n.Kind != syntax.Call {
		return
	}
	for _, k := range n.Kids[1:] {
		if k != nil && k.Kind == syntax.Keyword && (k.Text == "mcp_servers" || k.Text == "mcpServers") {
			m.mcpServers(c, k.Text)
		}
		if k == nil || k.Kind != syntax.Keyword || !strings.HasPrefix(k.Text, "allow_") {
			continue
		}
		switch k.Text {
		case "allow_dangerous_code", "allow_dangerous_requests", "allow_unsafe_code":
		default:
			continue
		}
		if c.row == nil {
			c.row = &row{}
		}
		if t := m.setting(c, "kw:"+k.Text, "True"); t == on || t == maybe {
			s := m.base(c, sight.Tool, className(segments(c.path)))
			s.Flags = []sight.Flag{{Flag: "allow_dangerous_code", At: m.place(c.site.Unit, k, ""), Conditional: t == maybe}}
			m.out = append(m.out, s)
		}
	}
}

// clientFlags looks at how a client of a provider is made: its address, its
// key, its TLS.
func (m *matcher) clientFlags(c *call) []sight.Flag {
	var out []sight.Flag
	for alt := range strings.SplitSeq(c.row.Base, "|") {
		if strings.HasPrefix(alt, "env:") || strings.HasPrefix(alt, "set:") {
			continue
		}
		for _, t := range m.readOne(c, alt).texts {
			if strings.HasPrefix(t.s, "http://") && !t.dynamic {
				if u, err := url.Parse(strings.ReplaceAll(t.s, "*", "x")); err == nil && !IsLocal(u.Hostname()) {
					out = append(out, m.at2(c, sight.Flag{Flag: "plain_http", At: m.place(c.site.Unit, c.site.Node, "")}, strings.TrimPrefix(alt, "kw:")))
				}
			}
		}
	}
	for _, kw := range [...]string{"api_key", "openai_api_key", "anthropic_api_key", "apiKey"} {
		for _, t := range m.read(c, "kw:"+kw).texts {
			if t.dynamic || t.open || t.value.Default && t.from.Via != "" && strings.Contains(t.from.Via, "environment") {
				continue
			}
			if f, ok := m.keyFlag(t.s, t.from); ok {
				out = append(out, f)
			}
		}
	}
	if set, ok := m.g.Argument(c.index, -1, "http_client"); ok {
		for _, v := range set.Values {
			if v.Made < 0 {
				continue
			}
			made := &call{index: v.Made, site: m.g.Sites()[v.Made], made: -1, row: &row{}}
			if m.setting(made, "kw:verify", "False") == on {
				out = append(out, m.at2(made, sight.Flag{Flag: "tls_off", At: m.place(made.site.Unit, made.site.Node, "")}, "verify"))
			}
		}
	}
	if m.setting(c, "kw:dangerouslyAllowBrowser", "True") == on {
		out = append(out, m.at2(c, sight.Flag{Flag: "browser_key", At: m.place(c.site.Unit, c.site.Node, "")}, "dangerouslyAllowBrowser"))
	}
	return out
}

var placeholderKey = regexp.MustCompile(`(?i)your|xxx|placeholder|example|dummy|fake|change|insert|<|\.\.\.|…|test|none|no[-_]?key|not[-_]?needed|not[-_]?required|empty|ollama|lm[-_]?studio|sk-no|sk-1234|sk-0000|^sk-$|^key$|^-$|^na$`)

// keyFlag judges a text that is given as a key.
func (m *matcher) keyFlag(s string, at sight.Place) (sight.Flag, bool) {
	switch {
	case len(s) < 4:
		return sight.Flag{}, false
	case placeholderKey.MatchString(s):
		if !strings.HasPrefix(s, "sk-") && m.rows.KeyProvider(s) == "" {
			return sight.Flag{}, false // a word for servers that want any
		}
		return sight.Flag{Flag: "placeholder_key", At: at}, true
	case m.rows.KeyProvider(s) != "" && len(s) >= 20, strings.HasPrefix(s, "sk-") && len(s) >= 20:
		return sight.Flag{Flag: "hardcoded_key", At: at, Detail: Fingerprint(s)}, true
	}
	return sight.Flag{}, false
}

// Fingerprint names a secret without telling it.
func Fingerprint(s string) string {
	h := sha256.Sum256([]byte(s))
	return "sha256:" + hex.EncodeToString(h[:6])
}

// urlFlags judges an address that a raw request is sent to.
func (m *matcher) urlFlags(c *call, t text) []sight.Flag {
	u, err := url.Parse(strings.ReplaceAll(t.s, "*", "x"))
	if err != nil {
		return nil
	}
	var out []sight.Flag
	if m.setting(c, "kw:verify", "False") == on {
		out = append(out, m.at2(c, sight.Flag{Flag: "tls_off", At: m.place(c.site.Unit, c.site.Node, "")}, "verify"))
	}
	if u.Scheme == "http" && !IsLocal(u.Hostname()) {
		out = append(out, sight.Flag{Flag: "plain_http", At: t.from})
	}
	for k := range u.Query() {
		if l := strings.ToLower(k); l == "key" || l == "api_key" || l == "apikey" || l == "api-key" || l == "token" {
			out = append(out, sight.Flag{Flag: "key_in_url", At: t.from})
			break
		}
	}
	return out
}

// mcpServers reports the servers that any call takes as a map under that name.
func (m *matcher) mcpServers(c *call, kw string) {
	if c.row == nil {
		c.row = &row{}
	}
	for _, member := range [...]string{"url", "server_url", "command"} {
		for _, t := range m.argument(c, "kw:"+kw+"."+member, true).texts {
			if t.dynamic || t.open || t.s == "" {
				continue
			}
			s := m.base(c, sight.MCPClient, sight.Snippet(t.s))
			if t.from.Path != "" {
				s.Evidence = []sight.Place{t.from}
			}
			m.out = append(m.out, s)
		}
	}
}
