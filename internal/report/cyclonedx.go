package report

import (
	"encoding/hex"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"

	"github.com/modelwarden/warden"
)

// NewCycloneDX returns a Writer of a CycloneDX 1.7 bill of materials: a
// machine-learning-model component for each file, and its findings as
// vulnerabilities. It holds the components until End. The serial number comes
// from the digests, so that the same files give the same document.
func NewCycloneDX(w io.Writer) Writer { return &cycloneWriter{w: w} }

type cycloneWriter struct {
	w          io.Writer
	tool       Tool
	started    time.Time
	components []cdx.Component
	found      []cdx.Vulnerability
	digests    strings.Builder
}

func (c *cycloneWriter) Begin(tool Tool, started time.Time) error {
	c.tool, c.started = tool, started
	return nil
}

func (c *cycloneWriter) Target(t Target) error {
	ref := "file:" + strconv.Itoa(len(c.components))
	fmt.Fprintf(&c.digests, "%s\x00%s\x00", t.Path, t.Digest)
	kind := cdx.ComponentTypeFile
	if t.Format != "" {
		kind = cdx.ComponentTypeMachineLearningModel
	}
	props := []cdx.Property{
		{Name: "warden:path", Value: t.Path},
		{Name: "warden:format", Value: t.Format},
		{Name: "warden:size", Value: strconv.FormatInt(t.Size, 10)},
		{Name: "warden:verdict", Value: t.Verdict},
		{Name: "warden:complete", Value: strconv.FormatBool(t.Complete)},
	}
	for _, s := range t.Statuses {
		props = append(props, cdx.Property{Name: "warden:not-examined", Value: s.Detector + ": " + s.Error})
	}
	comp := cdx.Component{BOMRef: ref, Type: kind, Name: path.Base(t.Path), Properties: &props}
	if h, ok := strings.CutPrefix(t.Digest, "sha256:"); ok {
		comp.Hashes = &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: h}}
	}
	c.components = append(c.components, comp)
	for _, f := range t.Findings {
		c.vulnerability(ref, f)
	}
	return nil
}

func (c *cycloneWriter) vulnerability(ref string, f Finding) {
	props := []cdx.Property{{Name: "warden:place", Value: f.At.Path}}
	if f.At.Start >= 0 {
		props = append(props, cdx.Property{Name: "warden:span", Value: fmt.Sprintf("%s %d-%d", f.At.Unit, f.At.Start, f.At.End)})
	}
	for _, ref := range f.Frameworks {
		props = append(props, cdx.Property{Name: "warden:framework", Value: ref})
	}
	v := cdx.Vulnerability{
		BOMRef: "finding:" + strconv.Itoa(len(c.found)), ID: f.Rule, Source: &cdx.Source{Name: c.tool.Name},
		Ratings:     &[]cdx.VulnerabilityRating{{Severity: cdx.Severity(f.Severity), Method: cdx.ScoringMethodOther}},
		Description: f.Message, Detail: f.Evidence, Recommendation: f.Advice,
		Affects: &[]cdx.Affects{{Ref: ref}}, Properties: &props,
		Analysis: &cdx.VulnerabilityAnalysis{State: cdx.IASExploitable},
	}
	switch {
	case f.Waiver != nil:
		v.Analysis = &cdx.VulnerabilityAnalysis{State: cdx.IASInTriage, Detail: "accepted by " + f.Waiver.By + " until " + f.Waiver.Expires + ": " + f.Waiver.Reason}
	case f.Severity != "critical":
		v.Analysis.State = cdx.IASInTriage
	}
	c.found = append(c.found, v)
}

func (c *cycloneWriter) End(Summary, time.Duration) error {
	id := warden.Sum([]byte(c.digests.String()))
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80 // RFC 9562 version 8: from a digest
	h := hex.EncodeToString(id[:16])
	bom := cdx.NewBOM()
	bom.SpecVersion = cdx.SpecVersion1_7
	bom.JSONSchema = "http://cyclonedx.org/schema/bom-1.7.schema.json"
	bom.SerialNumber = fmt.Sprintf("urn:uuid:%s-%s-%s-%s-%s", h[:8], h[8:12], h[12:16], h[16:20], h[20:])
	bom.Metadata = &cdx.Metadata{
		Timestamp: c.started.UTC().Format(time.RFC3339),
		Tools: &cdx.ToolsChoice{Components: &[]cdx.Component{{
			Type: cdx.ComponentTypeApplication, Name: c.tool.Name, Version: c.tool.Version,
			Properties: &[]cdx.Property{{Name: "warden:rules", Value: c.tool.Rules}},
		}}},
	}
	bom.Components, bom.Vulnerabilities = &c.components, &c.found
	if c.components == nil {
		bom.Components = &[]cdx.Component{}
	}
	enc := cdx.NewBOMEncoder(c.w, cdx.BOMFileFormatJSON)
	enc.SetPretty(true)
	enc.SetEscapeHTML(false)
	return enc.Encode(bom)
}
