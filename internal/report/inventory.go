package report

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
)

// An Inventory is what a source tree uses of AI, ready to be rendered. All texts
// from the tree are hostile until [Inventory.Tidy] made them printable.
type Inventory struct {
	Tool     Tool
	Name     string // of the application: the folder's
	Complete bool
	Files    int
	Bytes    int64 // of source that was read
	Took     time.Duration
	Created  time.Time // for formats that demand a time; the zero time is written as the epoch
	Gaps     []Gap     // what was not read, or not wholly
	Skipped  []string  // folders that hold the code of others
	Assets   []Asset
	Links    []Link
	Uses     []Use // unsafe uses that belong to no asset
}

// A Gap is something that was not looked at.
type Gap struct {
	Reader, State, Path, Error string
	Line                       int
}

// Blind reports whether the gap makes an inventory incomplete.
func (g Gap) Blind() bool { return g.State == "failed" || g.State == "skipped" }

// A Link leads from one asset to another, by their ids.
type Link struct{ From, To, Kind string }

// A Place is a line of the tree. Line 0 means the file as a whole.
type Place struct {
	Path, Snippet, Via string
	Line, Cell         int
}

// An Asset is one thing of an inventory.
type Asset struct {
	ID, Kind, Name    string
	Dynamic           string // the expression that gave no name
	Revision, Version string
	Pinned            bool
	Provider, PURL    string
	Digest            string // sha256:…; "" if unknown
	Size              int64
	State, Scope      string
	Selectable        bool
	Implicit, Note    string
	Loads, Verdict    string
	Owner             string
	Priority          int // 1 to 5; 0: none
	Because           []string
	Places            []Place
	Stack             []string
	Flags             []string
	Uses              []Use
	Scores            []Score
	Known             float64 // share of the factors of the scores that are known
}

// A Score informs about a model, 0 to 10.
type Score struct {
	Name  string
	Value float64
}

// A Use is an unsafe use at a place.
type Use struct {
	Rule, Flag, Severity     string
	At                       Place
	Message, Advice          string
	CWE, Because             []string
	Conditional              bool
	Priority                 int
	asset, assetID, assetKey string
}

// Label is the asset's name, or what stands for one that could not be resolved.
func (a *Asset) Label() string {
	switch {
	case a.Name != "":
		return a.Name
	case a.Dynamic != "":
		return "unresolved: " + a.Dynamic
	default:
		return "unresolved"
	}
}

// String writes path:line, with the cell of a notebook.
func (p Place) String() string {
	s := p.Path
	if p.Cell > 0 {
		s += " cell " + strconv.Itoa(p.Cell)
	}
	if p.Line > 0 {
		s += ":" + strconv.Itoa(p.Line)
	}
	return s
}

// names writes places.
func names(places []Place) []string {
	out := make([]string, 0, len(places))
	for _, p := range places {
		out = append(out, p.String())
	}
	return out
}

// groups gives kinds their order and heading.
var groups = [...]struct{ kind, title string }{
	{"model", "Models"},
	{"model_file", "Model files"},
	{"provider", "Providers"},
	{"endpoint", "Endpoints"},
	{"agent", "Agents"},
	{"tool", "Tools"},
	{"prompt", "Prompts"},
	{"mcp_server", "MCP servers"},
	{"mcp_client", "MCP clients"},
	{"dataset", "Datasets"},
	{"vector_store", "Vector stores"},
	{"framework", "Frameworks"},
	{"assistant", "Coding assistants"},
	{"container", "Containers"},
	{"key", "Keys"},
}

// heading returns the title of a kind.
func heading(kind string) string {
	for _, g := range groups {
		if g.kind == kind {
			return g.title
		}
	}
	return kind
}

func groupRank(kind string) int {
	for i, g := range groups {
		if g.kind == kind {
			return i
		}
	}
	return len(groups)
}

// Tidy makes every text printable, sorts assets by kind and name and drops links
// that lead nowhere. Render after it.
func (n *Inventory) Tidy() {
	n.Name = text(n.Name)
	ids := map[string]bool{}
	for i := range n.Assets {
		n.Assets[i].tidy()
		ids[n.Assets[i].ID] = true
	}
	slices.SortStableFunc(n.Assets, func(a, b Asset) int {
		return cmp.Or(cmp.Compare(groupRank(a.Kind), groupRank(b.Kind)), cmp.Compare(strings.ToLower(a.Label()), strings.ToLower(b.Label())), cmp.Compare(a.ID, b.ID))
	})
	links := n.Links[:0:0]
	for _, l := range n.Links {
		l.From, l.To = text(l.From), text(l.To)
		if ids[l.From] && ids[l.To] && l.From != l.To {
			links = append(links, l)
		}
	}
	n.Links = links
	for i := range n.Gaps {
		g := &n.Gaps[i]
		g.Path, g.Error = text(g.Path), detect.Printable(g.Error, errorBytes)
	}
	for i := range n.Skipped {
		n.Skipped[i] = text(n.Skipped[i])
	}
	for i := range n.Uses {
		n.Uses[i].tidy()
	}
}

func (a *Asset) tidy() {
	for _, s := range []*string{&a.ID, &a.Name, &a.Dynamic, &a.Revision, &a.Version, &a.Provider, &a.PURL, &a.Note, &a.Implicit, &a.Owner} {
		*s = text(*s)
	}
	for i := range a.Places {
		a.Places[i].tidy()
	}
	for i := range a.Stack {
		a.Stack[i] = text(a.Stack[i])
	}
	for i := range a.Uses {
		a.Uses[i].tidy()
	}
}

func (p *Place) tidy() { p.Path, p.Snippet, p.Via = text(p.Path), text(p.Snippet), text(p.Via) }

func (u *Use) tidy() {
	u.At.tidy()
	u.Message, u.Advice = text(u.Message), text(u.Advice)
	if u.Severity == "" {
		u.Severity = "info"
	}
}

// allUses lists every unsafe use, most urgent first, with the asset that it is about.
func (n *Inventory) allUses() []Use {
	var out []Use
	for i := range n.Assets {
		a := &n.Assets[i]
		for _, u := range a.Uses {
			u.asset, u.assetID, u.assetKey = a.Label(), a.ID, a.Kind
			if u.At.Snippet == "" {
				u.At.Snippet = a.snippet(u.At)
			}
			out = append(out, u)
		}
	}
	out = append(out, n.Uses...)
	slices.SortStableFunc(out, func(a, b Use) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), -cmp.Compare(severityRank(a.Severity), severityRank(b.Severity)), cmp.Compare(a.Rule, b.Rule),
			cmp.Compare(a.At.Path, b.At.Path), cmp.Compare(a.At.Cell, b.At.Cell), cmp.Compare(a.At.Line, b.At.Line), cmp.Compare(a.assetID, b.assetID))
	})
	return out
}

// snippet is the line of source that the asset's evidence shows for a place.
func (a *Asset) snippet(at Place) string {
	for _, p := range a.Places {
		if p.Path == at.Path && p.Line == at.Line && p.Cell == at.Cell {
			return p.Snippet
		}
	}
	return ""
}

func severityRank(s string) int {
	v, err := warden.ParseSeverity(s)
	if err != nil {
		return -1
	}
	return int(v)
}

// A task is work that an inventory gives: unsafe uses of one kind, or an asset
// whose loader runs what a file says.
type task struct {
	priority        int
	severity        string
	rule, title     string
	asset, assetID  string
	places          []Place
	because, advice []string
	conditional     bool
}

// loaders says what loading an asset executes.
var loaders = map[string]string{
	"pickle": "Loading unpickles the file", "code": "Loading runs code of the repository", "keras": "Loading may run a Lambda layer",
	"torchscript": "Loading runs a TorchScript program", "savedmodel": "Loading runs a TensorFlow graph", "npy": "Loading may unpickle arrays",
}

// tasks puts unsafe uses of one rule, asset and priority together and adds the
// assets that have a priority of their own, most urgent first.
func (n *Inventory) tasks() []task {
	var out []task
	at := map[string]int{}
	for _, u := range n.allUses() {
		key := fmt.Sprintf("%s\x00%s\x00%d\x00%s\x00%s", u.Rule, u.assetID, u.Priority, u.Message, u.Severity)
		if i, ok := at[key]; ok {
			out[i].places = append(out[i].places, u.At)
			continue
		}
		at[key] = len(out)
		t := task{priority: u.Priority, severity: u.Severity, rule: u.Rule, title: u.Message, asset: u.asset, assetID: u.assetID, places: []Place{u.At}, because: u.Because, conditional: u.Conditional}
		if u.Advice != "" {
			t.advice = []string{u.Advice}
		}
		out = append(out, t)
	}
	for i := range n.Assets {
		a := &n.Assets[i]
		if a.Priority == 0 || a.Priority > 3 {
			continue
		}
		title := loaders[a.Loads]
		if title == "" {
			title = "The file may harm"
		}
		t := task{priority: a.Priority, title: title, asset: a.Label(), assetID: a.ID, because: a.Because}
		t.severity = [...]string{"", "critical", "high", "medium"}[a.Priority]
		if len(a.Places) > 0 {
			t.places = a.Places[:1]
		}
		switch {
		case a.Verdict == "":
			t.advice = []string{"Scan the file (warden scan) and give the report with --artifacts."}
			if a.Kind == "model" && a.Provider == "huggingface" {
				t.advice = []string{"Scan it before it is loaded: warden scan hf://" + a.Name + ", and pin the revision that was scanned."}
			}
		case !a.Pinned && a.Kind == "model":
			t.advice = []string{"Pin the revision that was scanned."}
		default:
			t.advice = []string{"Take the file out of the tree, or load it with a reader that runs nothing."}
		}
		out = append(out, t)
	}
	slices.SortStableFunc(out, func(a, b task) int {
		return cmp.Or(cmp.Compare(a.priority, b.priority), -cmp.Compare(severityRank(a.severity), severityRank(b.severity)), cmp.Compare(last(a.rule), last(b.rule)), cmp.Compare(a.asset, b.asset))
	})
	return out
}

// last puts what has no rule after what has one.
func last(rule string) string { return cmp.Or(rule, "\xff") }

// gapGroups puts gaps of one cause together, those that blind first.
func (n *Inventory) gapGroups() []gapGroup {
	var out []gapGroup
	at := map[Gap]int{}
	for _, g := range n.Gaps {
		if g.State == "complete" {
			continue
		}
		key := Gap{Reader: g.Reader, State: g.State, Error: g.Error}
		i, ok := at[key]
		if !ok {
			i = len(out)
			at[key] = i
			out = append(out, gapGroup{Gap: key})
		}
		if g.Path != "" {
			out[i].places = append(out[i].places, Place{Path: g.Path, Line: g.Line})
		}
	}
	slices.SortStableFunc(out, func(a, b gapGroup) int {
		switch {
		case a.Blind() == b.Blind():
			return cmp.Or(cmp.Compare(a.Reader, b.Reader), cmp.Compare(a.Error, b.Error))
		case a.Blind():
			return -1
		default:
			return 1
		}
	})
	return out
}

type gapGroup struct {
	Gap
	places []Place
}

// serial derives a UUID from what a document says, so that the same inventory
// has the same number: version 8 of RFC 9562.
func serial(content string) string {
	id := warden.Sum([]byte(content))
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80
	h := hex.EncodeToString(id[:16])
	return fmt.Sprintf("%s-%s-%s-%s-%s", h[:8], h[8:12], h[12:16], h[16:20], h[20:])
}

// content is a text that differs where inventories differ.
func (n *Inventory) content() string {
	return fmt.Sprintf("%q %q %v %d %d %+v %+v %+v %+v %+v", n.Tool, n.Name, n.Complete, n.Files, n.Bytes, n.Gaps, n.Skipped, n.Assets, n.Links, n.Uses)
}

// summary is one line about the whole.
func (n *Inventory) summary() string {
	b := plural(len(n.Assets), "asset") + " in " + plural(n.Files, "file") + " (" + megabytes(n.Bytes)
	if n.Took > 0 {
		b += fmt.Sprintf(", %.1f s", n.Took.Seconds())
	}
	b += ")"
	if n.Complete {
		return b + ", complete"
	}
	return b + ", incomplete"
}

func megabytes(n int64) string {
	switch {
	case n >= 100_000_000:
		return fmt.Sprintf("%d MB", n/1_000_000)
	case n >= 50_000:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	default:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	}
}
