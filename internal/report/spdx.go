package report

import (
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// spdxContext is the vocabulary of SPDX 3.0.1.
const spdxContext = "https://spdx.org/rdf/3.0.1/spdx-context.jsonld"

// WriteSPDX renders an inventory as SPDX 3.0.1 in JSON-LD: models as AI
// packages, data sets as dataset packages, providers as organisations that
// supply them, the rest as packages. Unsafe uses are annotations. Source code
// does not say when a model was released, so that the document uses the classes
// of the AI and Dataset profiles and does not claim conformance to them. The
// profile has no field for "no time": a document without Created is dated to
// the epoch, so that one tree gives the same bytes.
func (n *Inventory) WriteSPDX(w io.Writer) error {
	created := n.Created
	if created.IsZero() {
		created = time.Unix(0, 0)
	}
	d := spdx{n: n, base: "urn:uuid:" + serial("spdx "+n.content()) + "#"}
	d.graph = append(d.graph, spdxNode{
		"type": "CreationInfo", "@id": "_:made", "specVersion": "3.0.1", "created": created.UTC().Format(time.RFC3339),
		"createdBy": []string{d.base + "maker"}, "createdUsing": []string{d.base + "tool"},
	})
	d.element("SoftwareAgent", "maker", n.Tool.Name, nil)
	d.element("Tool", "tool", strings.TrimSpace(n.Tool.Name+" "+n.Tool.Version), spdxNode{"description": "rules " + n.Tool.Rules})
	d.element("software_Package", "application", n.Name, spdxNode{"software_primaryPurpose": "application"})
	for i := range n.Assets {
		d.asset(&n.Assets[i])
	}
	d.relations()
	d.annotations()
	elements := []string{}
	for _, g := range d.graph[1:] {
		if id, ok := g["spdxId"].(string); ok {
			elements = append(elements, id)
		}
	}
	profiles := []string{"core", "software", "simpleLicensing"}
	d.element("software_Sbom", "bom", "AI in "+n.Name, spdxNode{
		"rootElement": []string{d.base + "application"}, "element": elements, "software_sbomType": []string{"source"}, "profileConformance": profiles,
	})
	d.element("SpdxDocument", "document", "AI inventory of "+n.Name, spdxNode{
		"rootElement": []string{d.base + "bom"}, "element": append(slices.Clone(elements), d.base+"bom"), "profileConformance": profiles,
		"comment": n.comment(),
	})
	b, err := marshal(spdxNode{"@context": spdxContext, "@graph": d.graph}, "")
	if err != nil {
		return err
	}
	_, err = w.Write(append(b, '\n'))
	return err
}

// comment says what the document cannot say in fields: whether all was read.
func (n *Inventory) comment() string {
	s := "Everything that counts was read."
	if !n.Complete {
		s = "Not everything could be read: parts are missing."
	}
	for _, g := range n.gapGroups() {
		s += "\n" + g.Reader + ": " + strings.ReplaceAll(g.State, "_", " ") + ": " + g.Error + " (" + plural(len(g.places), "place") + ")"
	}
	return cut(s, 4000)
}

// An spdxNode is one object of the graph. Maps are written in the order of
// their keys, so the bytes are always the same.
type spdxNode map[string]any

type spdx struct {
	n     *Inventory
	base  string // of every id in the document
	graph []spdxNode
}

func (d *spdx) element(kind, id, name string, more spdxNode) {
	e := spdxNode{"type": kind, "spdxId": d.base + id, "creationInfo": "_:made"}
	if name != "" {
		e["name"] = name
	}
	maps.Copy(e, more)
	d.graph = append(d.graph, e)
}

// purposes gives kinds of assets the purpose of their package.
var purposes = map[string]string{
	"model": "model", "model_file": "model", "dataset": "data", "framework": "library", "container": "container", "agent": "application",
	"tool": "application", "mcp_server": "application", "mcp_client": "application", "vector_store": "platform", "prompt": "configuration",
	"assistant": "configuration", "endpoint": "platform", "key": "other",
}

func (d *spdx) asset(a *Asset) {
	id := fragment(a.ID)
	if a.Kind == "provider" {
		d.element("Organization", id, a.Label(), nil)
		return
	}
	more := spdxNode{"software_primaryPurpose": purposes[a.Kind], "comment": a.remark()}
	if purposes[a.Kind] == "" {
		more["software_primaryPurpose"] = "other"
	}
	if v := a.Version; v != "" {
		more["software_packageVersion"] = v
	} else if a.Revision != "" {
		more["software_packageVersion"] = a.Revision
	}
	if a.PURL != "" {
		more["software_packageUrl"] = a.PURL
	}
	if h, ok := strings.CutPrefix(a.Digest, "sha256:"); ok && len(h) == 64 {
		more["verifiedUsing"] = []spdxNode{{"type": "Hash", "algorithm": "sha256", "hashValue": h}}
	}
	for _, l := range d.n.Links {
		if l.From == a.ID && l.Kind == "provided_by" {
			more["suppliedBy"] = d.base + fragment(l.To)
			break
		}
	}
	if len(a.Places) > 0 {
		more["software_sourceInfo"] = cut("used at "+strings.Join(names(a.Places), ", "), 4000)
	}
	kind := "software_Package"
	switch a.Kind {
	case "model", "model_file":
		kind = "ai_AIPackage"
		if a.Provider == "huggingface" && a.Name != "" {
			more["software_downloadLocation"] = "https://huggingface.co/" + a.Name
		}
	case "dataset":
		kind = "dataset_DatasetPackage"
		more["dataset_datasetType"] = []string{"noAssertion"}
		if a.Provider == "huggingface" && a.Name != "" {
			more["software_downloadLocation"] = "https://huggingface.co/datasets/" + a.Name
		}
	}
	d.element(kind, id, a.Label(), more)
}

// remark says of an asset what the format has no field for.
func (a *Asset) remark() string {
	s := []string{strings.ReplaceAll(a.Kind, "_", " "), strings.ReplaceAll(a.State, "_", " "), "scope " + a.Scope}
	if a.Revision != "" && !a.Pinned {
		s = append(s, "revision not pinned")
	}
	for _, x := range [][2]string{{"loading executes ", a.Loads}, {"file is ", a.Verdict}, {"owner ", a.Owner}} {
		if x[1] != "" {
			s = append(s, x[0]+x[1])
		}
	}
	return strings.Join(s, ", ")
}

// relationTypes gives kinds of links their relationship. What is not listed is
// a dependency; provided_by is a field of the package.
var relationTypes = map[string]string{
	"trained_on": "trainedOn", "tested_on": "testedOn", "adapter_of": "descendantOf", "based_on": "descendantOf", "base_model": "descendantOf",
	"finetuned_from": "descendantOf", "quantized_from": "descendantOf", "holds": "contains",
}

func (d *spdx) relation(kind, from string, to ...string) {
	d.element("Relationship", "relation-"+fragment(kind+"-"+strings.TrimPrefix(from, d.base)), "", spdxNode{
		"relationshipType": kind, "from": from, "to": to,
	})
}

func (d *spdx) relations() {
	organisations := map[string]bool{}
	for i := range d.n.Assets {
		organisations[d.n.Assets[i].ID] = d.n.Assets[i].Kind == "provider"
	}
	b := bom{n: d.n}
	top := b.dependencies()[0]
	var direct []string
	for _, id := range *top.Dependencies {
		if !organisations[id] {
			direct = append(direct, d.base+fragment(id))
		}
	}
	if len(direct) > 0 {
		d.relation("dependsOn", d.base+"application", direct...)
	}
	to := map[[2]string][]string{}
	for _, l := range d.n.Links {
		kind := relationTypes[l.Kind]
		if kind == "" {
			kind = "dependsOn"
		}
		if l.Kind == "provided_by" || organisations[l.To] || organisations[l.From] {
			continue
		}
		key := [2]string{l.From, kind}
		if target := d.base + fragment(l.To); !slices.Contains(to[key], target) {
			to[key] = append(to[key], target)
		}
	}
	for i := range d.n.Assets {
		a := &d.n.Assets[i]
		for _, kind := range [...]string{"contains", "dependsOn", "descendantOf", "testedOn", "trainedOn"} {
			if list := to[[2]string{a.ID, kind}]; len(list) > 0 {
				d.relation(kind, d.base+fragment(a.ID), list...)
			}
		}
		switch a.Kind {
		case "model", "model_file", "dataset": // the profiles demand both, known or not
			d.relation("hasConcludedLicense", d.base+fragment(a.ID), "expandedlicensing_NoAssertionLicense")
			d.relation("hasDeclaredLicense", d.base+fragment(a.ID), "expandedlicensing_NoAssertionLicense")
		}
	}
}

func (d *spdx) annotations() {
	for i, u := range d.n.allUses() {
		subject := d.base + "application"
		if u.assetID != "" {
			subject = d.base + fragment(u.assetID)
		}
		s := u.Severity + ", priority " + strconv.Itoa(u.Priority) + ", " + u.Rule + " at " + u.At.String() + ": " + u.Message
		if len(u.CWE) > 0 {
			s += " (" + strings.Join(u.CWE, ", ") + ")"
		}
		if len(u.Because) > 0 {
			s += ". Because: " + strings.Join(u.Because, ", ")
		}
		if u.Advice != "" {
			s += ". " + u.Advice
		}
		d.element("Annotation", "finding-"+strconv.Itoa(i), "", spdxNode{"annotationType": "review", "subject": subject, "statement": s})
	}
}
