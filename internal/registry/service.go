package registry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/attest"
	"github.com/modelwarden/warden/internal/audit"
	"github.com/modelwarden/warden/internal/blob"
	"github.com/modelwarden/warden/internal/queue"
)

// Blobs is what the registry needs of a blob store.
type Blobs interface {
	Stat(ctx context.Context, d warden.Digest) (blob.Info, error)
	List(ctx context.Context, after warden.Digest, limit int) ([]blob.Info, error)
	Delete(ctx context.Context, d warden.Digest) error
}

// A Config is what a [Service] needs.
type Config struct {
	Store Store
	Log   *audit.Log
	Blobs Blobs
	Now   func() time.Time
	Work  queue.Work   // nil: nobody is told about work; workers read Wanted
	Slog  *slog.Logger // nil: nothing is logged
	// Signer signs decisions; nil: they are kept unsigned.
	Signer *attest.Signer
}

// A Service holds the rules of the registry. Each operation that changes
// something is one transaction with its audit event. Every error for a user is
// a *warden.Error. It may be used concurrently.
type Service struct {
	cfg Config

	mu   sync.Mutex // guards subs
	subs map[chan Change]struct{}

	totals totals
}

// New returns a Service. It starts nothing.
func New(cfg Config) (*Service, error) {
	switch {
	case cfg.Store == nil, cfg.Log == nil, cfg.Blobs == nil, cfg.Now == nil:
		return nil, errors.New("registry: store, log, blobs and clock are required")
	case cfg.Slog == nil:
		cfg.Slog = slog.New(slog.DiscardHandler)
	}
	return &Service{cfg: cfg, subs: map[chan Change]struct{}{}}, nil
}

// View runs fn on one consistent state, for lists and pages.
func (s *Service) View(ctx context.Context, fn func(Reader) error) error {
	return s.cfg.Store.View(ctx, fn)
}

// A Push asks for an artifact to become the newest version of a model.
type Push struct {
	Model    Name
	Manifest Manifest
	Actor    warden.Principal
	Demo     bool
	Class    queue.Class // how urgent the scan is; "" means Admission
	Edges    []Edge      // what is known of its origins; From may be zero: the artifact
}

// Push registers an artifact whose files are all in the blob store, and wants
// it scanned unless it has been. Pushing again what is the newest version
// already changes nothing and returns that version.
func (s *Service) Push(ctx context.Context, p Push) (Version, error) {
	if _, err := ParseName(string(p.Model)); err != nil {
		return Version{}, err
	}
	if err := named(p.Actor); err != nil {
		return Version{}, err
	}
	encoded, err := p.Manifest.Encode()
	if err != nil {
		return Version{}, &warden.Error{
			Code: warden.CodeInvalid, Message: err.Error(), Err: err,
			Hint: "list each file once, with its relative path, size and SHA-256",
		}
	}
	if p.Class == "" {
		p.Class = queue.Admission
	}
	var (
		d    = warden.Sum(encoded)
		v    Version
		want bool
	)
	err = s.cfg.Store.Update(ctx, func(tx Tx) error {
		v, want = Version{}, false
		latest, err := tx.Version(ctx, p.Model, 0)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		if err == nil && latest.Digest == d && (p.Demo || !latest.Demo) {
			v = latest
			return nil
		}
		if err := s.present(ctx, p.Manifest); err != nil {
			return err
		}
		a, err := tx.Artifact(ctx, d)
		switch {
		case errors.Is(err, ErrNotFound):
			want = true
			a = Artifact{Digest: d, Files: len(p.Manifest.Files), Size: p.Manifest.Size(), Created: s.cfg.Now().UTC(), Demo: p.Demo, Decided: Pending}
			if a.Epoch, err = tx.BumpEpoch(ctx); err != nil {
				return err
			}
			err = tx.PutArtifact(ctx, a, p.Manifest, encoded)
		case err == nil && a.Demo && !p.Demo:
			a.Demo = false
			err = tx.SetArtifact(ctx, a)
		}
		if err != nil {
			return err
		}
		if want = want || a.Scanned.IsZero(); want {
			if err := s.want(ctx, tx, &a, Wanted{d, string(p.Class), s.cfg.Now().UTC(), "push"}); err != nil {
				return err
			}
		}
		v = Version{Model: p.Model, Digest: d, PushedBy: p.Actor.ID, Created: s.cfg.Now().UTC(), Demo: p.Demo, Artifact: a}
		if v.Number, err = tx.PutVersion(ctx, v); err != nil {
			return err
		}
		for _, e := range p.Edges {
			if e.From == (warden.Ref{}) {
				e.From = a.Ref()
			}
			e.Created, e.Demo = s.cfg.Now().UTC(), p.Demo
			if err := tx.PutEdge(ctx, e); err != nil {
				return err
			}
		}
		if !a.Scanned.IsZero() {
			if err := s.regroup(ctx, tx, a); err != nil {
				return err
			}
		}
		_, err = s.cfg.Log.Append(ctx, tx, warden.Event{Actor: p.Actor, Action: "registry.push", Object: a.Ref()}, map[string]any{
			"model": p.Model, "version": v.Number, "files": a.Files, "size": a.Size, "demo": p.Demo,
		})
		return err
	})
	if err != nil {
		return Version{}, s.explain(fmt.Sprintf("push %s", p.Model), err)
	}
	if want {
		s.offer(ctx, Wanted{Artifact: d, Class: string(p.Class)})
		s.tell(Change{Epoch: v.Artifact.Epoch, Artifact: d, State: v.Artifact.State()})
	}
	return v, nil
}

// present checks that the blob store holds every file of m, in full.
func (s *Service) present(ctx context.Context, m Manifest) error {
	seen := make(map[warden.Digest]bool, len(m.Files))
	for _, f := range m.Files {
		if seen[f.Digest] {
			continue
		}
		seen[f.Digest] = true
		info, err := s.cfg.Blobs.Stat(ctx, f.Digest)
		switch {
		case errors.Is(err, blob.ErrNotFound):
			return &warden.Error{
				Code: warden.CodeInvalid, Err: err,
				Message: fmt.Sprintf("file %.200q (%s) was not uploaded", f.Path, f.Digest),
				Hint:    "upload the bytes first, then send the manifest",
			}
		case err != nil:
			return err
		case info.Size != f.Size:
			return &warden.Error{
				Code:    warden.CodeInvalid,
				Message: fmt.Sprintf("file %.200q: the manifest says %d bytes, %s has %d", f.Path, f.Size, f.Digest, info.Size),
				Hint:    "make the manifest from the bytes that were uploaded",
			}
		}
	}
	return nil
}

// State returns an artifact as it is now. It never answers from memory.
func (s *Service) State(ctx context.Context, d warden.Digest) (Artifact, error) {
	var a Artifact
	err := s.cfg.Store.View(ctx, func(r Reader) (err error) {
		a, err = r.Artifact(ctx, d)
		return err
	})
	if err != nil {
		return Artifact{}, s.explain("look up "+d.String(), err)
	}
	return a, nil
}

// Find returns what a person means by a digest, by model@number, by
// model@latest or by model. The model of an artifact that belongs to none is "".
func (s *Service) Find(ctx context.Context, text string) (Version, error) {
	var v Version
	err := s.cfg.Store.View(ctx, func(r Reader) (err error) {
		v, err = find(ctx, r, text)
		return err
	})
	if err != nil {
		return Version{}, s.explain(fmt.Sprintf("look up %.200q", text), err)
	}
	return v, nil
}

// named refuses an actor without a name: every event has one.
func named(p warden.Principal) error {
	if p.ID == "" {
		return &warden.Error{Code: warden.CodeUnauthenticated, Message: "nobody is named as acting", Hint: "log in or send a key"}
	}
	return nil
}

// maxReasonBytes bounds what a person writes.
const maxReasonBytes = 1000

func reasoned(reason string) error {
	if reason == "" || len(reason) > maxReasonBytes || !utf8.ValidString(reason) {
		return &warden.Error{
			Code: warden.CodeInvalid, Message: fmt.Sprintf("a reason of %d bytes, want 1 to %d", len(reason), maxReasonBytes),
			Hint: "say in a sentence why, for those who are refused",
		}
	}
	return nil
}

// explain makes err fit for a user.
func (s *Service) explain(doing string, err error) error {
	var we *warden.Error
	switch {
	case errors.As(err, &we):
		return err
	case errors.Is(err, ErrNotFound):
		return &warden.Error{Code: warden.CodeNotFound, Message: doing + ": not in the registry", Hint: "list what there is with warden registry list", Err: err}
	case errors.Is(err, ErrExists):
		return &warden.Error{Code: warden.CodeConflict, Message: doing + ": the name is taken by one that differs in case", Hint: "use the name as it is listed", Err: err}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return &warden.Error{Code: warden.CodeUnavailable, Message: doing + ": stopped before it was done; nothing was changed", Hint: "repeat the request", Err: err}
	default:
		return &warden.Error{Code: warden.CodeInternal, Message: doing + ": internal error", Hint: "see the log of the server", Err: fmt.Errorf("%s: %w", doing, err)}
	}
}
