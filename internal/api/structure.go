package api

import (
	"context"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/registry"
	"github.com/modelwarden/warden/internal/report"
	"github.com/modelwarden/warden/scan"
)

// Bounds of looking into files on request, which costs as much as a scan.
const (
	inspectAtOnce = 2
	inspectFor    = 20 * time.Second
)

type structureInput struct {
	DigestInput
	Path string `query:"path" required:"true" minLength:"1" maxLength:"4096" doc:"a file of the artifact, as in its manifest"`
}

// structure shows what is inside one file of an artifact, whatever its state:
// it is how a person sees why something is denied. It is no download: tensors
// are named, and no bytes are shown but those that findings are about.
func (s *service) structure(ctx context.Context, in *structureInput) (*body[report.Structure], error) {
	d, err := s.lookup(ctx, &in.DigestInput)
	if err != nil {
		return nil, s.fail(err)
	}
	f, err := s.fileOf(ctx, d, in.Path)
	if err != nil {
		return nil, s.fail(err)
	}
	select {
	case s.inspecting <- struct{}{}:
		defer func() { <-s.inspecting }()
	case <-ctx.Done():
		return nil, s.fail(&warden.Error{Code: warden.CodeUnavailable, Message: "others are looking into files", Hint: "try again in a moment"})
	}
	b, err := s.Blobs.Open(ctx, f.Digest)
	if err != nil {
		return nil, s.fail(blobError("open "+f.Path, err))
	}
	defer b.Close() //nolint:errcheck // only read
	found, err := scan.Inspect(ctx, f.Path, b, b.Size(), scan.Options{Timeout: inspectFor})
	if err != nil {
		return nil, s.fail(err)
	}
	return answer(registry.StructureOf(f.Path, found)), nil
}
