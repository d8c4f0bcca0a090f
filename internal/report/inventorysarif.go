package report

import (
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/modelwarden/warden"
)

// A UseRule is a rule of unsafe uses with the weaknesses that it stands for.
type UseRule struct {
	warden.Rule
	CWE []string // "CWE-502"
}

type useLog struct {
	Schema  string   `json:"$schema"`
	Version string   `json:"version"`
	Runs    []useRun `json:"runs"`
}

type useRun struct {
	Tool        useTool         `json:"tool"`
	Invocations []useInvocation `json:"invocations"`
	Bases       map[string]any  `json:"originalUriBaseIds"`
	Results     []useResult     `json:"results"`
	ColumnKind  string          `json:"columnKind"`
	Taxonomies  []useTaxonomy   `json:"taxonomies,omitempty"`
}

type useTool struct {
	Driver useDriver `json:"driver"`
}

type useDriver struct {
	Name    string         `json:"name"`
	Version string         `json:"version"`
	Rules   []useRuleEntry `json:"rules"`
}

type useRuleEntry struct {
	ID            string            `json:"id"`
	Short         sarifText         `json:"shortDescription"`
	Help          useHelp           `json:"help"`
	Configuration sarifRuleDefaults `json:"defaultConfiguration"`
	Relations     []useRelation     `json:"relationships,omitempty"`
	Properties    useRuleProps      `json:"properties"`
}

type useRuleProps struct {
	Tags             []string `json:"tags"`
	Precision        string   `json:"precision"`
	SecuritySeverity string   `json:"security-severity"`
}

type useHelp struct {
	Text     string `json:"text"`
	Markdown string `json:"markdown"`
}

type useRelation struct {
	Target useTarget `json:"target"`
	Kinds  []string  `json:"kinds"`
}

type useTarget struct {
	ID        string      `json:"id"`
	Component useToolName `json:"toolComponent"`
}

type useToolName struct {
	Name string `json:"name"`
}

type useTaxonomy struct {
	Name         string     `json:"name"`
	Organization string     `json:"organization"`
	Short        sarifText  `json:"shortDescription"`
	Taxa         []useTaxon `json:"taxa"`
}

type useTaxon struct {
	ID string `json:"id"`
}

type useInvocation struct {
	Successful    bool        `json:"executionSuccessful"`
	Notifications []useNotice `json:"toolExecutionNotifications"`
}

type useNotice struct {
	Level     string        `json:"level"`
	Message   sarifText     `json:"message"`
	Locations []useLocation `json:"locations,omitempty"`
}

type useResult struct {
	RuleID       string            `json:"ruleId"`
	RuleIndex    int               `json:"ruleIndex"`
	Level        string            `json:"level"`
	Message      sarifText         `json:"message"`
	Locations    []useLocation     `json:"locations"`
	Fingerprints map[string]string `json:"partialFingerprints"`
	Flows        []useFlow         `json:"codeFlows,omitempty"`
	Rank         float64           `json:"rank"`
	Properties   useResultProps    `json:"properties"`
}

type useResultProps struct {
	Flag     string   `json:"flag"`
	Asset    string   `json:"asset,omitempty"`
	Priority int      `json:"priority"`
	Because  []string `json:"because"`
}

type useFlow struct {
	Threads []useThread `json:"threadFlows"`
}

type useThread struct {
	Steps []useStep `json:"locations"`
}

type useStep struct {
	Location useLocation `json:"location"`
	Nesting  int         `json:"nestingLevel"`
}

type useLocation struct {
	Physical *usePhysical `json:"physicalLocation,omitempty"`
	Logical  []useLogical `json:"logicalLocations,omitempty"`
	Message  *sarifText   `json:"message,omitempty"`
}

type useLogical struct {
	Name string `json:"fullyQualifiedName"`
	Kind string `json:"kind"`
}

type usePhysical struct {
	Artifact useArtifact `json:"artifactLocation"`
	Region   *useRegion  `json:"region,omitempty"`
}

type useArtifact struct {
	URI  string `json:"uri"`
	Base string `json:"uriBaseId,omitempty"`
}

type useRegion struct {
	Start   int        `json:"startLine"`
	Snippet *sarifText `json:"snippet,omitempty"`
}

// sourceRoot names the folder that paths are relative to.
const sourceRoot = "SRCROOT"

// WriteSARIF renders the unsafe uses of an inventory as SARIF 2.1.0. The calls
// that lead to a use are its code flow. Fingerprints hold the rule, the asset,
// the file and the text of the line, never its number: a result survives moves.
func (n *Inventory) WriteSARIF(w io.Writer, rules []UseRule) error {
	run := useRun{
		Tool:        useTool{useDriver{Name: n.Tool.Name, Version: n.Tool.Version, Rules: []useRuleEntry{}}},
		Invocations: []useInvocation{{Successful: n.Complete, Notifications: []useNotice{}}},
		Bases:       map[string]any{sourceRoot: map[string]any{"description": sarifText{"The root of the tree that was read."}}},
		Results:     []useResult{}, ColumnKind: "unicodeCodePoints",
	}
	uses := n.allUses()
	rules = withRulesOf(rules, uses)
	index := map[string]int{}
	var taxa []string
	for i := range rules {
		r := &rules[i]
		index[string(r.ID)] = i
		run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, r.entry())
		for _, c := range numbers(r.CWE) {
			taxa = append(taxa, strconv.Itoa(c))
		}
	}
	slices.Sort(taxa)
	if taxa = slices.Compact(taxa); len(taxa) > 0 {
		t := useTaxonomy{Name: "CWE", Organization: "MITRE", Short: sarifText{"The MITRE Common Weakness Enumeration"}}
		for _, id := range taxa {
			t.Taxa = append(t.Taxa, useTaxon{id})
		}
		run.Taxonomies = []useTaxonomy{t}
	}
	for _, g := range n.gapGroups() {
		notice := useNotice{Level: "note", Message: sarifText{strings.ReplaceAll(g.State, "_", " ") + ": " + g.Reader + ": " + g.Error}}
		if g.Blind() {
			notice.Level = "error"
		}
		for _, p := range g.places {
			notice.Locations = append(notice.Locations, useLocation{Physical: p.physical()})
		}
		run.Invocations[0].Notifications = append(run.Invocations[0].Notifications, notice)
	}
	stacks := map[string][]string{}
	for i := range n.Assets {
		stacks[n.Assets[i].ID] = n.Assets[i].Stack
	}
	same := map[string]int{} // results that only their order tells apart
	for _, u := range uses {
		run.Results = append(run.Results, u.result(index[u.ruleID()], stacks[u.assetID], same))
	}
	b, err := marshal(useLog{Schema: "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json", Version: "2.1.0", Runs: []useRun{run}}, "")
	if err != nil {
		return err
	}
	_, err = w.Write(append(b, '\n'))
	return err
}

// ruleID is the rule of a use, made from its flag where it has none.
func (u *Use) ruleID() string {
	if u.Rule == "" {
		return "warden/" + u.Flag
	}
	return u.Rule
}

// withRulesOf adds rules of uses that the list lacks: each result has a rule.
func withRulesOf(rules []UseRule, uses []Use) []UseRule {
	out := slices.Clone(rules)
	for _, u := range uses {
		id := warden.RuleID(u.ruleID())
		if slices.ContainsFunc(out, func(r UseRule) bool { return r.ID == id }) {
			continue
		}
		severity, err := warden.ParseSeverity(u.Severity)
		if err != nil {
			severity = warden.Info
		}
		advice := u.Advice
		if advice == "" {
			advice = "See whether the use is meant, and whether it has to be."
		}
		out = append(out, UseRule{Rule: warden.Rule{ID: id, Title: u.Message, Severity: severity, Advice: advice}, CWE: u.CWE})
	}
	return out
}

func (r *UseRule) entry() useRuleEntry {
	e := useRuleEntry{
		ID: string(r.ID), Short: sarifText{r.Title}, Configuration: sarifRuleDefaults{level(r.Severity.String())},
		Help:       useHelp{Text: r.Advice, Markdown: "**" + escape(r.Title) + "**\n\n" + escape(r.Advice)},
		Properties: useRuleProps{Tags: []string{"security"}, Precision: "high", SecuritySeverity: score(r.Severity)},
	}
	for _, c := range numbers(r.CWE) {
		id := strconv.Itoa(c)
		e.Properties.Tags = append(e.Properties.Tags, "external/cwe/cwe-"+id)
		e.Relations = append(e.Relations, useRelation{useTarget{id, useToolName{"CWE"}}, []string{"superset"}})
		e.Help.Markdown += "\n\nCWE-" + id
	}
	e.Properties.Tags = append(e.Properties.Tags, r.Frameworks...)
	return e
}

// physical is the place as SARIF writes it: a relative URI and a line.
func (p Place) physical() *usePhysical {
	f := &usePhysical{Artifact: useArtifact{URI: relativeURI(p.Path), Base: sourceRoot}}
	if p.Line > 0 && p.Cell == 0 { // lines of a cell are no lines of the file
		f.Region = &useRegion{Start: p.Line}
		if p.Snippet != "" {
			f.Region.Snippet = &sarifText{p.Snippet}
		}
	}
	return f
}

// relativeURI escapes a path; a colon in its first part would make a scheme.
func relativeURI(path string) string {
	s := (&url.URL{Path: path}).EscapedPath()
	first, _, _ := strings.Cut(s, "/")
	if strings.Contains(first, ":") {
		s = "./" + s
	}
	return s
}

func (u *Use) result(rule int, stack []string, same map[string]int) useResult {
	message := u.Message
	if u.asset != "" {
		message += ": " + u.asset
	}
	if u.At.Cell > 0 {
		message += " (" + u.At.String() + ")"
	}
	content := strings.Join([]string{u.Rule, u.Flag, u.assetID, u.At.Path, strings.Join(strings.Fields(u.At.Snippet), " ")}, "\x00")
	same[content]++
	if same[content] > 1 {
		content += "\x00" + strconv.Itoa(same[content])
	}
	place := useLocation{Physical: u.At.physical()}
	if len(stack) > 0 {
		place.Logical = []useLogical{{stack[len(stack)-1], "function"}}
	}
	r := useResult{
		RuleID: u.ruleID(), RuleIndex: rule, Level: level(u.Severity), Message: sarifText{message}, Locations: []useLocation{place},
		Fingerprints: map[string]string{"warden/v1": warden.Sum([]byte(content)).String()[7:39]},
		Rank:         float64(max(0, 6-max(1, u.Priority)) * 20), // 1, most urgent, is 100
		Properties:   useResultProps{Flag: u.Flag, Asset: u.assetID, Priority: u.Priority, Because: u.Because},
	}
	if r.Properties.Because == nil {
		r.Properties.Because = []string{}
	}
	if len(stack) > 0 {
		var t useThread
		for i, f := range stack {
			t.Steps = append(t.Steps, useStep{useLocation{Logical: []useLogical{{f, "function"}}, Message: &sarifText{f}}, i})
		}
		t.Steps = append(t.Steps, useStep{useLocation{Physical: u.At.physical(), Message: &sarifText{u.Message}}, len(stack)})
		r.Flows = []useFlow{{[]useThread{t}}}
	}
	return r
}
