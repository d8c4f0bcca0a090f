package file

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"strings"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
	"github.com/modelwarden/warden/internal/format"
)

const (
	ruleWhiteout warden.RuleID = "WDN-MF-097"
	ruleLayer    warden.RuleID = "WDN-MF-098"
	ruleBlob     warden.RuleID = "WDN-MF-099"
)

// images finds what is odd about images and models that are handed out as such.
var images = &detect.Detector[*format.File]{
	Name: "container/image",
	Doc: `Layers and documents of OCI images and artifacts.

A layer can remove files of the layers below it, and a document can send whoever
fetches a layer to any address. A blob is named after its digest: one that has
another is not what was examined or signed elsewhere. Layers are examined one by
one, not as the file system that they make together.`,
	Rules: []warden.Rule{
		{
			ID: ruleWhiteout, Title: "Layer removes files of the layers below", Severity: warden.Low,
			Advice:     "Examine the file system that the layers make together, not one layer.",
			Frameworks: []string{"owasp-llm@2025:LLM03"},
		},
		{
			ID: ruleLayer, Title: "Image takes a layer from elsewhere", Severity: warden.High,
			Advice:     "Do not run or fetch the image with a tool that follows the document. Ask for one whose layers are in its registry.",
			Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0010"},
		},
		{
			ID: ruleBlob, Title: "Blob is not what its name promises", Severity: warden.High,
			Advice:     "Fetch the image again. If the digest is wrong at the publisher too, do not use it.",
			Frameworks: []string{"owasp-llm@2025:LLM03", "mitre-atlas@5.6.0:AML.T0107", "owasp-ml@2023:ML06"},
		},
	},
	Run: runImages,
}

func runImages(ctx context.Context, p *detect.Pass[*format.File]) error {
	f := p.Subject
	if f.Tar != nil && f.Is("oci-layer") {
		for i, e := range f.Tar.Entries {
			if i%4096 == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			if strings.HasPrefix(path.Base(e.Name), ".wh.") {
				p.Emit(warden.Finding{Rule: ruleWhiteout, Severity: warden.Low, At: at(f, e.Header, e.Data), Evidence: e.Name, Message: "Unpacking the layer removes what the layers below have put there."})
			}
		}
	}
	for i, r := range f.References {
		if i%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		switch {
		case r.Key == format.KeyURL:
			p.Emit(warden.Finding{Rule: ruleLayer, Severity: warden.Medium, At: at(f, r.Start, r.End), Evidence: withoutSecret(r.Name), Message: "Fetching the image fetches a layer from an address that its publisher chose."})
		case r.Key == format.KeyLayer && leaves(r.Name):
			p.Emit(warden.Finding{Rule: ruleLayer, Severity: warden.High, At: at(f, r.Start, r.End), Evidence: r.Name, Message: "Loading the image reads a file outside the archive as a layer. Reached by: docker load."})
		}
	}
	return blob(ctx, p)
}

// blob compares a blob of an image with the digest that it is named after.
func blob(ctx context.Context, p *detect.Pass[*format.File]) error {
	f := p.Subject
	const name = "blobs/sha256/"
	i := strings.LastIndex(f.Path, name)
	if f.In != "oci-image" || i < 0 {
		return nil
	}
	want, err := hex.DecodeString(f.Path[i+len(name):])
	if err != nil || len(want) != sha256.Size {
		return nil //nolint:nilerr // another file of that folder
	}
	sum, buf := sha256.New(), make([]byte, min(f.Size, 1<<20))
	for at := int64(0); at < f.Size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := f.R.ReadAt(buf[:min(int64(len(buf)), f.Size-at)], at)
		sum.Write(buf[:n])
		if at += int64(n); err != nil && at < f.Size {
			return fmt.Errorf("read at %d of %d bytes: %w", at, f.Size, err)
		}
	}
	if got := sum.Sum(nil); string(got) != string(want) {
		p.Emit(warden.Finding{
			Rule: ruleBlob, Severity: warden.High, At: whole(f), Evidence: "sha256:" + hex.EncodeToString(got),
			Message: "The bytes of the blob have another digest than its name: what was examined or signed by that name is not this.",
		})
	}
	return nil
}
