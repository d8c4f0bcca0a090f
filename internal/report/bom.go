package report

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// rootRef is the reference of the application that was read.
const rootRef = "application"

// WriteCycloneDX renders an inventory as a bill of materials in CycloneDX 1.7.
// Models have model cards, providers and endpoints are services, unsafe uses are
// vulnerabilities, and assistants are the formulation: they make the product and
// are no part of it. The document has no time, and its serial number comes from
// its content, so that one tree gives the same bytes.
func (n *Inventory) WriteCycloneDX(w io.Writer) error {
	b := bom{n: n, components: []cdx.Component{}, services: []cdx.Service{}}
	for i := range n.Assets {
		b.asset(&n.Assets[i])
	}
	b.findings()
	doc := cdx.NewBOM()
	doc.SpecVersion = cdx.SpecVersion1_7
	doc.JSONSchema = "http://cyclonedx.org/schema/bom-1.7.schema.json"
	doc.SerialNumber = "urn:uuid:" + serial("cyclonedx "+n.content())
	props := []cdx.Property{{Name: "warden:complete", Value: strconv.FormatBool(n.Complete)}, {Name: "warden:files", Value: strconv.Itoa(n.Files)}, {Name: "warden:bytes", Value: strconv.FormatInt(n.Bytes, 10)}}
	for _, g := range n.gapGroups() {
		value := append([]string{g.Reader + ": " + g.State + ": " + g.Error}, names(g.places)...)
		props = append(props, cdx.Property{Name: "warden:not-examined", Value: cut(strings.Join(value, "; "), 1000)})
	}
	doc.Metadata = &cdx.Metadata{
		Lifecycles: &[]cdx.Lifecycle{{Phase: cdx.LifecyclePhasePreBuild}},
		Tools: &cdx.ToolsChoice{Components: &[]cdx.Component{{
			Type: cdx.ComponentTypeApplication, Name: n.Tool.Name, Version: n.Tool.Version,
			Properties: &[]cdx.Property{{Name: "warden:rules", Value: n.Tool.Rules}},
		}}},
		Component:  &cdx.Component{BOMRef: rootRef, Type: cdx.ComponentTypeApplication, Name: n.Name},
		Properties: &props,
	}
	doc.Components, doc.Services, doc.Vulnerabilities = &b.components, &b.services, &b.found
	if len(b.made) > 0 {
		doc.Formulation = &[]cdx.Formula{{BOMRef: "formulation:assistants", Components: &b.made}}
	}
	deps := b.dependencies()
	doc.Dependencies = &deps
	// Only AI is listed, so that the parts are never claimed to be all.
	aggregate := cdx.CompositionAggregateIncomplete
	if n.Complete {
		aggregate = cdx.CompositionAggregateUnknown
	}
	doc.Compositions = &[]cdx.Composition{{BOMRef: "composition:application", Aggregate: aggregate, Assemblies: &[]cdx.BOMReference{rootRef}}}
	enc := cdx.NewBOMEncoder(w, cdx.BOMFileFormatJSON)
	enc.SetPretty(true)
	enc.SetEscapeHTML(false)
	return enc.Encode(doc)
}

type bom struct {
	n          *Inventory
	components []cdx.Component
	services   []cdx.Service
	made       []cdx.Component // how the application is made: assistants
	found      []cdx.Vulnerability
}

// componentTypes gives kinds of assets their type. Kinds that are not listed
// are services.
var componentTypes = map[string]cdx.ComponentType{
	"model": cdx.ComponentTypeMachineLearningModel, "model_file": cdx.ComponentTypeMachineLearningModel, "dataset": cdx.ComponentTypeData,
	"prompt": cdx.ComponentTypeData, "framework": cdx.ComponentTypeLibrary, "vector_store": cdx.ComponentTypePlatform,
	"agent": cdx.ComponentTypeApplication, "tool": cdx.ComponentTypeApplication, "mcp_client": cdx.ComponentTypeApplication,
	"container": cdx.ComponentTypeContainer, "key": cdx.ComponentTypeCryptographicAsset, "assistant": cdx.ComponentTypeFile,
}

func (b *bom) asset(a *Asset) {
	props := a.properties()
	kind, ok := componentTypes[a.Kind]
	if !ok {
		// Services have no evidence of their own: places go into properties.
		for _, p := range a.Places {
			props = append(props, cdx.Property{Name: "warden:place", Value: p.String()})
		}
		for _, f := range a.Stack {
			props = append(props, cdx.Property{Name: "warden:callstack", Value: f})
		}
		s := cdx.Service{BOMRef: a.ID, Name: a.Label(), Version: a.Version, Properties: &props}
		if strings.HasPrefix(a.Name, "http://") || strings.HasPrefix(a.Name, "https://") {
			s.Endpoints = &[]string{strings.ReplaceAll(a.Name, " ", "%20")}
		}
		if a.Kind == "provider" || a.Kind == "endpoint" {
			outside := true
			s.CrossesTrustBoundary = &outside
		}
		b.services = append(b.services, s)
		return
	}
	c := cdx.Component{BOMRef: a.ID, Type: kind, Name: a.Label(), Version: a.Version, PackageURL: a.PURL, Properties: &props, Evidence: a.evidence()}
	if c.Version == "" {
		c.Version = a.Revision
	}
	if h, ok := strings.CutPrefix(a.Digest, "sha256:"); ok && len(h) == 64 {
		c.Hashes = &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: h}}
	}
	switch a.Kind {
	case "model", "model_file":
		c.ModelCard = b.card(a)
		c.Pedigree = b.pedigree(a)
		if a.Provider != "" {
			c.Group = a.Provider
		}
	case "dataset":
		c.Data = &[]cdx.ComponentData{{Type: cdx.ComponentDataTypeDataset, Name: a.Label()}}
	case "prompt":
		c.Data = &[]cdx.ComponentData{{Type: cdx.ComponentDataTypeDefinition, Name: "prompt"}}
	case "key":
		c.CryptoProperties = &cdx.CryptoProperties{
			AssetType:                       cdx.CryptoAssetTypeRelatedCryptoMaterial,
			RelatedCryptoMaterialProperties: &cdx.RelatedCryptoMaterialProperties{Type: cdx.RelatedCryptoMaterialTypeCredential},
		}
	case "assistant":
		b.made = append(b.made, c)
		return
	}
	b.components = append(b.components, c)
}

// properties hold what the format has no field for.
func (a *Asset) properties() []cdx.Property {
	var out []cdx.Property
	for _, p := range [][2]string{
		{"kind", a.Kind},
		{"state", a.State},
		{"scope", a.Scope},
		{"provider", a.Provider},
		{"loads", a.Loads},
		{"verdict", a.Verdict},
		{"owner", a.Owner},
		{"implicit", a.Implicit},
		{"dynamic", a.Dynamic},
		{"note", a.Note},
	} {
		if p[1] != "" {
			out = append(out, cdx.Property{Name: "warden:" + p[0], Value: p[1]})
		}
	}
	if a.Revision != "" || a.Kind == "model" {
		out = append(out, cdx.Property{Name: "warden:revision-pinned", Value: strconv.FormatBool(a.Pinned)})
	}
	if a.Selectable {
		out = append(out, cdx.Property{Name: "warden:selectable", Value: "true"})
	}
	for _, f := range a.Flags {
		out = append(out, cdx.Property{Name: "warden:flag", Value: f})
	}
	if a.Priority > 0 {
		out = append(out, cdx.Property{Name: "warden:priority", Value: strconv.Itoa(a.Priority)})
		for _, w := range a.Because {
			out = append(out, cdx.Property{Name: "warden:because", Value: w})
		}
	}
	for _, s := range a.Scores {
		out = append(out, cdx.Property{Name: "warden:score:" + s.Name, Value: strconv.FormatFloat(s.Value, 'f', 1, 64)})
	}
	return out
}

func (a *Asset) evidence() *cdx.Evidence {
	if len(a.Places) == 0 && len(a.Stack) == 0 {
		return nil
	}
	e := &cdx.Evidence{}
	if len(a.Places) > 0 {
		at := make([]cdx.EvidenceOccurrence, 0, len(a.Places))
		for i, p := range a.Places {
			o := cdx.EvidenceOccurrence{BOMRef: a.ID + "#" + strconv.Itoa(i), Location: p.Path, AdditionalContext: p.Snippet}
			if p.Line > 0 {
				line := p.Line
				o.Line = &line
			}
			switch {
			case p.Via != "":
				o.Symbol = p.Via
			case p.Cell > 0:
				o.Symbol = "cell " + strconv.Itoa(p.Cell)
			}
			at = append(at, o)
		}
		e.Occurrences = &at
	}
	if len(a.Stack) > 0 {
		frames := make([]cdx.CallstackFrame, 0, len(a.Stack))
		for i, f := range a.Stack {
			frame := cdx.CallstackFrame{Module: f}
			// The first name is a module's; further ones add the function to it.
			if k := strings.LastIndexByte(f, '.'); k > 0 && i > 0 {
				frame.Module, frame.Function = f[:k], f[k+1:]
			}
			frames = append(frames, frame)
		}
		e.Callstack = &cdx.Callstack{Frames: &frames}
	}
	return e
}

// card is what is known of a model. Data sets that the document has are
// references to them.
func (b *bom) card(a *Asset) *cdx.MLModelCard {
	card := &cdx.MLModelCard{BOMRef: "card:" + a.ID}
	var sets []cdx.MLDatasetChoice
	for _, l := range b.n.Links {
		if l.From == a.ID && l.Kind == "trained_on" {
			sets = append(sets, cdx.MLDatasetChoice{Ref: l.To})
		}
	}
	if len(sets) > 0 {
		card.ModelParameters = &cdx.MLModelParameters{Datasets: &sets}
	}
	return card
}

// ancestry lists the kinds of links from a model to what it was made of.
var ancestry = map[string]bool{"adapter_of": true, "based_on": true, "base_model": true, "finetuned_from": true, "quantized_from": true}

func (b *bom) pedigree(a *Asset) *cdx.Pedigree {
	var bases []cdx.Component
	for _, l := range b.n.Links {
		if l.From != a.ID || !ancestry[l.Kind] {
			continue
		}
		for i := range b.n.Assets {
			if base := &b.n.Assets[i]; base.ID == l.To {
				bases = append(bases, cdx.Component{Type: cdx.ComponentTypeMachineLearningModel, Name: base.Label(), Version: base.Revision, PackageURL: base.PURL})
			}
		}
	}
	if bases == nil {
		return nil
	}
	return &cdx.Pedigree{Ancestors: &bases}
}

func (b *bom) findings() {
	b.found = []cdx.Vulnerability{}
	for _, u := range b.n.allUses() {
		props := []cdx.Property{{Name: "warden:place", Value: u.At.String()}, {Name: "warden:flag", Value: u.Flag}, {Name: "warden:priority", Value: strconv.Itoa(u.Priority)}}
		for _, w := range u.Because {
			props = append(props, cdx.Property{Name: "warden:because", Value: w})
		}
		ref := u.assetID
		if ref == "" {
			ref = rootRef
		}
		v := cdx.Vulnerability{
			BOMRef: "finding:" + strconv.Itoa(len(b.found)), ID: u.Rule, Source: &cdx.Source{Name: b.n.Tool.Name},
			Ratings:     &[]cdx.VulnerabilityRating{{Severity: cdx.Severity(u.Severity), Method: cdx.ScoringMethodOther}},
			Description: u.Message, Detail: u.At.Snippet, Recommendation: u.Advice,
			Affects: &[]cdx.Affects{{Ref: ref}}, Properties: &props,
			Analysis: &cdx.VulnerabilityAnalysis{State: cdx.IASInTriage},
		}
		if cwes := numbers(u.CWE); len(cwes) > 0 {
			v.CWEs = &cwes
		}
		if v.ID == "" {
			v.ID = "warden:" + u.Flag
		}
		b.found = append(b.found, v)
	}
}

// numbers reads "CWE-502".
func numbers(cwe []string) []int {
	var out []int
	for _, c := range cwe {
		if k, err := strconv.Atoi(strings.TrimPrefix(c, "CWE-")); err == nil && k > 0 {
			out = append(out, k)
		}
	}
	return out
}

// dependencies joins what depends on what: every asset that nothing else needs
// hangs on the application, so that all are reached from it, cycles too.
func (b *bom) dependencies() []cdx.Dependency {
	to := map[string][]string{}
	needed := map[string]bool{}
	for _, l := range b.n.Links {
		if !slices.Contains(to[l.From], l.To) {
			to[l.From] = append(to[l.From], l.To)
			needed[l.To] = true
		}
	}
	seen := map[string]bool{}
	reach := func(id string) {
		stack := []string{id}
		for len(stack) > 0 {
			id := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			if seen[id] {
				continue
			}
			seen[id] = true
			stack = append(stack, to[id]...)
		}
	}
	top := []string{}
	for pass := range 2 { // assets of cycles that nothing reaches come second
		for i := range b.n.Assets {
			if id := b.n.Assets[i].ID; b.n.Assets[i].Kind != "assistant" && !seen[id] && (pass == 1 || !needed[id]) {
				top = append(top, id)
				reach(id)
			}
		}
	}
	out := make([]cdx.Dependency, 0, len(b.n.Assets)+1)
	slices.Sort(top)
	out = append(out, cdx.Dependency{Ref: rootRef, Dependencies: &top})
	for i := range b.n.Assets {
		id := b.n.Assets[i].ID
		list := slices.Sorted(slices.Values(to[id]))
		d := cdx.Dependency{Ref: id}
		if len(list) > 0 {
			d.Dependencies = &list
		}
		out = append(out, d)
	}
	return out
}

// fragment makes a text fit for a part of an IRI: letters and digits stay.
func fragment(s string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '_' {
			b.WriteByte(c)
			continue
		}
		fmt.Fprintf(&b, "~%02x", c)
	}
	return b.String()
}
