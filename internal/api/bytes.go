package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"strconv"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/blob"
	"github.com/modelwarden/warden/internal/policy"
	"github.com/modelwarden/warden/internal/registry"
)

// mayUpload lets in whoever may push anything: bytes have no name yet.
func (s *service) mayUpload(ctx context.Context) error {
	return s.mayOn(ctx, policy.Modify, policy.Resource{Ref: warden.Ref{Kind: warden.KindModel, ID: uploads}})
}

// blobError explains errors of the blob store. What they say of the server's
// files is for its log.
func blobError(doing string, err error) error {
	e := &warden.Error{Message: doing + ": " + err.Error(), Err: err}
	switch {
	case errors.Is(err, blob.ErrNoSpace):
		e.Message = doing + ": " + blob.ErrNoSpace.Error()
		e.Code, e.Hint = warden.CodeUnavailable, "free space on the server's blob volume, then go on"
	case errors.Is(err, blob.ErrNotFound):
		e.Code, e.Hint = warden.CodeNotFound, "begin a new upload"
	case errors.Is(err, blob.ErrDigest):
		e.Code, e.Hint = warden.CodeInvalid, "the bytes changed on the way or on disk: hash them again and upload again"
	case errors.Is(err, blob.ErrTooLarge):
		e.Code, e.Hint = warden.CodeLimit, "raise limits.max_blob on the server"
	case errors.Is(err, blob.ErrOffset):
		e.Code, e.Hint = warden.CodeConflict, "ask for Upload-Offset and go on from there"
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, os.ErrDeadlineExceeded):
		e.Message = doing + ": the bytes stopped coming"
		e.Code, e.Hint = warden.CodeInvalid, "ask for Upload-Offset and go on from there"
	default:
		return fmt.Errorf("%s: %w", doing, err)
	}
	return e
}

func (s *service) headBlob(w http.ResponseWriter, r *http.Request) {
	err := s.mayUpload(r.Context())
	var info blob.Info
	if err == nil {
		var d warden.Digest
		if d, err = parseDigest(r.PathValue("digest")); err == nil {
			if info, err = s.Blobs.Stat(r.Context(), d); err != nil {
				err = blobError("look up blob", err)
			}
		}
	}
	if err != nil {
		s.problem(w, err)
		return
	}
	w.Header().Set("Content-Length", strconv.FormatInt(info.Size, 10))
	w.WriteHeader(http.StatusOK)
}

const offsetHeader = "Upload-Offset"

func (s *service) createUpload(w http.ResponseWriter, r *http.Request) {
	if err := s.mayUpload(r.Context()); err != nil {
		s.problem(w, err)
		return
	}
	id, err := s.Uploads.Create(r.Context())
	if err != nil {
		s.problem(w, blobError("begin upload", err))
		return
	}
	w.Header().Set("Location", "/api/v1/uploads/"+id)
	w.Header().Set(offsetHeader, "0")
	w.WriteHeader(http.StatusCreated)
}

func (s *service) headUpload(w http.ResponseWriter, r *http.Request) {
	err := s.mayUpload(r.Context())
	var n int64
	if err == nil {
		if n, err = s.Uploads.Offset(r.Context(), r.PathValue("id")); err != nil {
			err = blobError("look up upload", err)
		}
	}
	if err != nil {
		s.problem(w, err)
		return
	}
	w.Header().Set(offsetHeader, strconv.FormatInt(n, 10))
	w.WriteHeader(http.StatusOK)
}

func (s *service) appendUpload(w http.ResponseWriter, r *http.Request) {
	if err := s.mayUpload(r.Context()); err != nil {
		s.problem(w, err)
		return
	}
	offset, err := strconv.ParseInt(r.Header.Get(offsetHeader), 10, 64)
	if err != nil || offset < 0 {
		s.problem(w, &warden.Error{Code: warden.CodeInvalid, Message: "header " + offsetHeader + " is missing or no number", Hint: "send the offset that the bytes begin at"})
		return
	}
	n, err := s.Uploads.Append(r.Context(), r.PathValue("id"), offset, r.Body, s.MaxBlob)
	if err != nil {
		s.problem(w, blobError("append to upload", err))
		return
	}
	w.Header().Set(offsetHeader, strconv.FormatInt(n, 10))
	w.WriteHeader(http.StatusNoContent)
}

func (s *service) commitUpload(w http.ResponseWriter, r *http.Request) {
	err := s.mayUpload(r.Context())
	var info blob.Info
	if err == nil {
		var d warden.Digest
		if d, err = parseDigest(r.URL.Query().Get("digest")); err == nil {
			if info, err = s.Uploads.Commit(r.Context(), r.PathValue("id"), d); err != nil {
				err = blobError("commit upload", err)
			}
		}
	}
	if err != nil {
		s.problem(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	json.NewEncoder(w).Encode(fileBody{Digest: info.Digest.String(), Size: info.Size}) //nolint:errcheck,errchkjson // the client is gone
}

func (s *service) abortUpload(w http.ResponseWriter, r *http.Request) {
	err := s.mayUpload(r.Context())
	if err == nil {
		if err = s.Uploads.Abort(r.Context(), r.PathValue("id")); err != nil {
			err = blobError("abort upload", err)
		}
	}
	if err != nil {
		s.problem(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// stored answers with bytes that the registry keeps about an artifact.
func (s *service) stored(w http.ResponseWriter, r *http.Request, get func(registry.Reader, warden.Digest) ([]byte, error)) {
	d, err := s.lookup(r.Context(), &DigestInput{r.PathValue("digest")})
	if err == nil {
		_, err = s.Registry.State(r.Context(), d)
	}
	var b []byte
	if err == nil {
		err = s.Registry.View(r.Context(), func(rd registry.Reader) (err error) {
			b, err = get(rd, d)
			return err
		})
	}
	if errors.Is(err, registry.ErrNotFound) {
		err = &warden.Error{Code: warden.CodeNotFound, Message: "the artifact has not been scanned yet", Hint: "wait for the scan", Err: err}
	}
	if err != nil {
		s.problem(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(b) //nolint:errcheck // the client is gone
}

func (s *service) manifest(w http.ResponseWriter, r *http.Request) {
	s.stored(w, r, func(rd registry.Reader, d warden.Digest) ([]byte, error) { return rd.Manifest(r.Context(), d) }) //nolint:contextcheck // it is the context of the request
}

func (s *service) report(w http.ResponseWriter, r *http.Request) {
	s.stored(w, r, func(rd registry.Reader, d warden.Digest) ([]byte, error) { //nolint:contextcheck // it is the context of the request
		sc, err := rd.Scan(r.Context(), d)
		return sc.Report, err
	})
}

// download hands out one file of an artifact, if policy and the state of the
// artifact allow it. Every hand-out and every refusal is audited, and a
// download that runs while the artifact is quarantined ends at the next chunk.
func (s *service) download(w http.ResponseWriter, r *http.Request) {
	ctx, who := r.Context(), identity(r.Context()).Principal
	d, err := parseDigest(r.PathValue("digest"))
	if err != nil {
		s.problem(w, err)
		return
	}
	if err := s.credentialMay(ctx, policy.Retrieve, registry.ArtifactRef(d)); err != nil {
		s.problem(w, err)
		return
	}
	as, err := s.as(ctx, policy.Retrieve, policy.Resource{Ref: registry.ArtifactRef(d)})
	if err != nil {
		s.problem(w, err)
		return
	}
	dec, a, err := s.Judge.Artifact(ctx, as, policy.Retrieve, d)
	if err != nil {
		s.problem(w, err)
		return
	}
	if dec.Effect != warden.Allow {
		switch reads := s.reads(who); {
		case reads && a.Digest == (warden.Digest{}):
			_, err = s.Registry.State(ctx, d) // not found
		case reads && registry.Refusal(a) != nil:
			_, err = s.Registry.Retrieve(ctx, d, who) // keeps the refusal, and says why
		}
		if err == nil {
			err = s.obey(ctx, dec, who, policy.Retrieve)
		}
		s.problem(w, err)
		return
	}
	f, err := s.fileOf(ctx, d, r.PathValue("path"))
	if err != nil {
		s.problem(w, err)
		return
	}
	b, err := s.Blobs.Open(ctx, f.Digest)
	if err != nil {
		s.problem(w, blobError("open "+f.Path, err))
		return
	}
	defer b.Close() //nolint:errcheck // only read
	if _, err := s.Registry.Retrieve(ctx, d, who); err != nil {
		s.problem(w, err)
		return
	}
	w.Header().Set("ETag", `"`+f.Digest.String()+`"`)
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Disposition", "attachment")
	body := io.NewSectionReader(&watched{ctx, s.Registry, d, b, time.Time{}, s.Now}, 0, b.Size())
	http.ServeContent(w, r, path.Base(f.Path), time.Time{}, body)
}

// reads reports whether who may know what is in the registry, and so why
// something of it is refused.
func (s *service) reads(who warden.Principal) bool {
	return s.Judge.Thing(onPlatform(who, policy.Read), policy.Read, policy.Resource{Ref: warden.Ref{Kind: policy.KindPlatform, ID: "warden"}}).Effect == warden.Allow
}

func (s *service) fileOf(ctx context.Context, d warden.Digest, name string) (registry.File, error) {
	var raw []byte
	err := s.Registry.View(ctx, func(r registry.Reader) (err error) {
		raw, err = r.Manifest(ctx, d)
		return err
	})
	if err != nil {
		return registry.File{}, err
	}
	m, err := registry.DecodeManifest(raw)
	if err != nil {
		return registry.File{}, err
	}
	for _, f := range m.Files {
		if f.Path == name {
			return f, nil
		}
	}
	return registry.File{}, &warden.Error{Code: warden.CodeNotFound, Message: fmt.Sprintf("%s has no file %.200q", d, name), Hint: "see its manifest"}
}

// watched reads a blob as long as its artifact is admitted. It looks at most
// once in checkEvery.
type watched struct {
	ctx  context.Context //nolint:containedctx // io.ReaderAt has no context; it lives for one request
	reg  *registry.Service
	d    warden.Digest
	b    blob.Blob
	last time.Time
	now  func() time.Time
}

const checkEvery = 200 * time.Millisecond

// ReadAt implements [io.ReaderAt]; one request reads in one goroutine.
func (w *watched) ReadAt(p []byte, off int64) (int, error) {
	if t := w.now(); t.Sub(w.last) >= checkEvery {
		a, err := w.reg.State(w.ctx, w.d)
		if err == nil {
			err = registry.Refusal(a)
		}
		if err != nil {
			return 0, err
		}
		w.last = t
	}
	return w.b.ReadAt(p, off)
}

// events streams changes of state as server-sent events until the client goes,
// its credential ends, or the server stops.
func (s *service) events(w http.ResponseWriter, r *http.Request) {
	if err := s.may(r.Context(), policy.Read); err != nil {
		s.problem(w, err)
		return
	}
	rc := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	fmt.Fprint(w, ": warden\n\n")
	if rc.Flush() != nil {
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	changes := s.Registry.Changes(ctx)
	beat := time.NewTicker(beatEvery)
	defer beat.Stop()
	for {
		select {
		case c, ok := <-changes:
			if !ok {
				return
			}
			fmt.Fprintf(w, "id: %d\nevent: state\ndata: {\"artifact\":%q,\"state\":%q,\"all\":%t}\n\n", c.Epoch, digestText(c.Artifact), c.State, c.All)
		case <-beat.C:
			id, err := s.identify(r)
			if err != nil || !s.reads(id.Principal) {
				return
			}
			fmt.Fprint(w, ": beat\n\n")
		case <-s.Done:
			return
		}
		if rc.Flush() != nil {
			return
		}
	}
}

// beatEvery is how often a stream of events shows that it lives, and looks
// whether its reader may still read.
const beatEvery = 10 * time.Second
