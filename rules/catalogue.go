package rules

import (
	_ "embed" // the catalogue is data
	"fmt"
	"strings"
)

// A Catalogue says which calls, packages, hosts and variables mean that AI is
// used, and where its ids stand. See the comments in the files.
type Catalogue struct {
	Python     []CallRow
	JavaScript []CallRow
	Go         []CallRow
	Java       []CallRow
	CSharp     []CallRow
	Constants  map[string]map[string]string // by package: what its constants stand for
	CatalogueGeneral
}

// A CallRow describes calls. The comment at the head of catalogue/python.yaml
// says what the fields mean.
type CallRow struct {
	Call       string   `yaml:"call"`
	Kind       string   `yaml:"kind"`
	ID         string   `yaml:"id"`
	Name       string   `yaml:"name"`
	Rev        string   `yaml:"rev"`
	Path       string   `yaml:"path"`
	URL        string   `yaml:"url"`
	Provider   string   `yaml:"provider"`
	Maker      string   `yaml:"maker"`
	Upstream   string   `yaml:"upstream"`
	Base       string   `yaml:"base"`
	Vertex     string   `yaml:"vertex"`
	First      string   `yaml:"first"`
	Needs      string   `yaml:"needs"`
	Default    string   `yaml:"default"`
	Org        string   `yaml:"org"`
	Implicit   string   `yaml:"implicit"`
	Only       string   `yaml:"only"`
	Skip       string   `yaml:"skip"`
	Strip      string   `yaml:"strip"`
	Builders   string   `yaml:"builders"`
	Typed      string   `yaml:"typed"`
	Unsafe     []string `yaml:"unsafe"`
	In         string   `yaml:"in"`
	Quiet      bool     `yaml:"quiet"`
	Loads      string   `yaml:"loads"`
	Prompt     string   `yaml:"prompt"`
	Tools      string   `yaml:"tools"`
	MCP        string   `yaml:"mcp"`
	Args       string   `yaml:"args"`
	Body       string   `yaml:"body"`
	Framework  string   `yaml:"framework"`
	Deprecated bool     `yaml:"deprecated"`
	Ollama     bool     `yaml:"ollama"`
}

// An UnsafeRow describes a flag: how it is recognised, and what it means.
type UnsafeRow struct {
	Flag     string   `yaml:"flag"`
	When     string   `yaml:"when"`
	Unless   string   `yaml:"unless"`
	Any      string   `yaml:"any"` // true: looked for at every call; client: at every call of a client
	Package  string   `yaml:"package"`
	CWE      []string `yaml:"cwe"`
	Severity string   `yaml:"severity"`
	Quiet    string   `yaml:"quiet"` // severity where the loaded file is the program's own
	Title    string   `yaml:"title"`
	Advice   string   `yaml:"advice"`
}

// CatalogueGeneral is what does not depend on a language.
type CatalogueGeneral struct {
	Endpoints map[string]string   `yaml:"endpoints"`
	Gateways  []string            `yaml:"gateways"`
	Prefixes  map[string]string   `yaml:"prefixes"`
	Names     map[string][]string `yaml:"names"`
	Dated     map[string]string   `yaml:"dated"`
	Variables struct {
		Keys []string          `yaml:"keys"`
		Base map[string]string `yaml:"base"`
	} `yaml:"variables"`
	KeyPrefixes map[string]string   `yaml:"key_prefixes"`
	Unsafe      []UnsafeRow         `yaml:"unsafe"`
	Packages    map[string][]string `yaml:"packages"`
	Imports     map[string]string   `yaml:"imports"`
}

//go:embed catalogue/python.yaml
var cataloguePython []byte

//go:embed catalogue/javascript.yaml
var catalogueJavaScript []byte

//go:embed catalogue/go.yaml
var catalogueGo []byte

//go:embed catalogue/java.yaml
var catalogueJava []byte

//go:embed catalogue/csharp.yaml
var catalogueCSharp []byte

//go:embed catalogue/constants.yaml
var catalogueConstants []byte

//go:embed catalogue/general.yaml
var catalogueGeneral []byte

// LoadCatalogue reads the catalogue that is built in. It is the same at each
// call; callers share one.
func LoadCatalogue() (*Catalogue, error) {
	c := &Catalogue{}
	if err := DecodeStrict(catalogueGeneral, &c.CatalogueGeneral); err != nil {
		return nil, fmt.Errorf("%w: catalogue/general.yaml: %w", ErrRule, err)
	}
	if err := DecodeStrict(catalogueConstants, &c.Constants); err != nil {
		return nil, fmt.Errorf("%w: catalogue/constants.yaml: %w", ErrRule, err)
	}
	flags := map[string]bool{}
	for _, u := range c.Unsafe {
		if u.Flag == "" || u.Title == "" || u.Advice == "" || u.Severity == "" || len(u.CWE) == 0 || flags[u.Flag] {
			return nil, fmt.Errorf("%w: catalogue/general.yaml: flag %q is incomplete or there twice", ErrRule, u.Flag)
		}
		flags[u.Flag] = true
	}
	for _, f := range []struct {
		name string
		text []byte
		to   *[]CallRow
	}{
		{"python", cataloguePython, &c.Python},
		{"javascript", catalogueJavaScript, &c.JavaScript},
		{"go", catalogueGo, &c.Go},
		{"java", catalogueJava, &c.Java},
		{"csharp", catalogueCSharp, &c.CSharp},
	} {
		if err := DecodeStrict(f.text, f.to); err != nil {
			return nil, fmt.Errorf("%w: catalogue/%s.yaml: %w", ErrRule, f.name, err)
		}
		for i, r := range *f.to {
			if err := r.check(flags); err != nil {
				return nil, fmt.Errorf("%w: catalogue/%s.yaml: row %d (%s): %w", ErrRule, f.name, i+1, r.Call, err)
			}
		}
	}
	return c, nil
}

// ConstantIDs returns what constants of packages stand for, by the whole path of
// their names.
func (c *Catalogue) ConstantIDs() map[string]string {
	out := map[string]string{}
	for pkg, names := range c.Constants {
		for name, id := range names {
			out[pkg+"."+name] = id
		}
	}
	return out
}

var catalogueKinds = [...]string{
	"", "model", "client", "model_file", "dataset", "vector_store", "mcp_server", "mcp_client", "agent", "tool", "prompt",
	"framework", "flag", "http",
}

func (r CallRow) check(flags map[string]bool) error {
	if r.Call == "" || strings.Count(r.Call, "{") != strings.Count(r.Call, "}") {
		return fmt.Errorf("no call, or braces that do not match")
	}
	known := false
	for _, k := range catalogueKinds {
		known = known || k == r.Kind
	}
	if !known {
		return fmt.Errorf("unknown kind %q", r.Kind)
	}
	for _, u := range r.Unsafe {
		if !flags[u] {
			return fmt.Errorf("unknown flag %q", u)
		}
	}
	return nil
}
