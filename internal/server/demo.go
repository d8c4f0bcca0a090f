package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/access"
	"github.com/modelwarden/warden/internal/api"
	"github.com/modelwarden/warden/internal/gateway"
	"github.com/modelwarden/warden/internal/registry"
)

// A demo fills the platform with models that are assembled at that moment,
// harmless and hostile ones, a lineage, a route to a local stand-in upstream and
// some traffic. Everything carries the demo mark and goes away in one step; the
// audit log keeps that it was there.
type demo struct {
	s *Server

	mu       sync.Mutex // one load or removal at a time; guards the fields below
	upstream *http.Server
	serving  sync.WaitGroup // the goroutine of upstream
	ended    bool           // the server stops: nothing is opened any more
}

func newDemo(s *Server) *demo { return &demo{s: s} }

// Load implements [api.Demo]. Loading twice adds nothing but traffic.
func (d *demo) Load(ctx context.Context, actor warden.Principal) (api.DemoSummary, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var sum api.DemoSummary
	var wait []warden.Digest
	for _, m := range demoModels() {
		v, err := d.push(ctx, m, actor)
		if err != nil {
			return sum, err
		}
		sum.Models++
		wait = append(wait, v.Digest)
	}
	sum.Artifacts = len(wait)
	if err := d.settled(ctx, wait); err != nil {
		return sum, err
	}
	if err := errors.Join(d.papers(ctx, actor), d.open(ctx)); err != nil {
		return sum, err
	}
	keys, err := d.s.access.Keys(ctx)
	if err != nil {
		return sum, err
	}
	for _, k := range keys {
		if k.Demo && k.Revoked.IsZero() { // its secret is gone: a new one takes its place
			if _, err := d.s.access.RevokeKey(ctx, k.ID, actor); err != nil {
				return sum, err
			}
		}
	}
	_, secret, err := d.s.access.CreateKey(ctx, access.NewKey{Name: "demo application", Roles: []string{access.RoleClient}, TTL: 24 * time.Hour, Demo: true}, actor)
	if err != nil {
		return sum, err
	}
	sum.Keys = 1
	if sum.Requests, err = d.traffic(ctx, secret); err != nil {
		return sum, err
	}
	return sum, d.inventory(ctx, actor)
}

func (d *demo) push(ctx context.Context, m demoModel, actor warden.Principal) (registry.Version, error) {
	name, err := registry.ParseName(m.name)
	if err != nil {
		return registry.Version{}, err
	}
	var manifest registry.Manifest
	for _, f := range m.files {
		info, err := d.s.blobs.Put(ctx, bytes.NewReader(f.data), warden.Digest{}, int64(len(f.data)))
		if err != nil {
			return registry.Version{}, fmt.Errorf("demo file %s of %s: %w", f.path, m.name, err)
		}
		manifest.Files = append(manifest.Files, registry.File{Path: f.path, Digest: info.Digest, Size: info.Size})
	}
	return d.s.registry.Push(ctx, registry.Push{Model: name, Manifest: manifest, Actor: actor, Demo: true})
}

const demoWait = 60 * time.Second

// settled waits until every artifact is scanned and decided.
func (d *demo) settled(ctx context.Context, artifacts []warden.Digest) error {
	ctx, cancel := context.WithTimeout(ctx, demoWait)
	defer cancel()
	for _, a := range artifacts {
		for {
			st, err := d.s.registry.State(ctx, a)
			if err != nil {
				return err
			}
			if st.State() != registry.Pending {
				break
			}
			select {
			case <-ctx.Done():
				return &warden.Error{Code: warden.CodeUnavailable, Message: "the demo models are not scanned yet", Hint: "look at the log of the server, then load the demo again", Err: ctx.Err()}
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	return nil
}

// open starts the stand-in upstream and the demo routes.
func (d *demo) open(ctx context.Context) error {
	if d.upstream != nil || d.ended {
		return nil
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // binding does not wait
	if err != nil {
		return fmt.Errorf("stand-in upstream: %w", err)
	}
	routes, err := demoRoutes("http://" + l.Addr().String())
	if err == nil {
		err = d.s.gateway.SetRoutes(gateway.FromDemo, routes...)
	}
	if err != nil {
		return errors.Join(err, l.Close())
	}
	srv := &http.Server{Handler: standIn(), ReadHeaderTimeout: 5 * time.Second}
	d.upstream = srv
	d.serving.Go(func() { // ends with Close
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			d.s.opts.Log.ErrorContext(ctx, "stand-in upstream ended", slog.Any("error", err))
		}
	})
	return nil
}

// restore opens the demo routes again if the database holds demo data, and
// closes the upstream when ctx ends.
func (d *demo) restore(ctx context.Context) {
	var t registry.Totals
	err := d.s.registry.View(ctx, func(r registry.Reader) (err error) {
		t, err = r.Totals(ctx)
		return err
	})
	if err == nil && t.Demo {
		d.mu.Lock()
		err = d.open(ctx)
		d.mu.Unlock()
	}
	if err != nil && ctx.Err() == nil {
		d.s.opts.Log.ErrorContext(ctx, "demo routes cannot be opened", slog.Any("error", err))
	}
	<-ctx.Done()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended = true
	d.close()
}

func (d *demo) close() {
	if d.upstream != nil {
		if err := d.upstream.Close(); err != nil {
			d.s.opts.Log.Warn("stand-in upstream", slog.Any("error", err))
		}
		d.serving.Wait()
		d.upstream = nil
	}
}

// Remove implements [api.Demo].
func (d *demo) Remove(ctx context.Context, actor warden.Principal) (api.DemoSummary, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var sum api.DemoSummary
	if err := d.s.gateway.SetRoutes(gateway.FromDemo); err != nil {
		return sum, err
	}
	d.close()
	err := d.distrust(ctx, actor)
	if err != nil {
		return sum, err
	}
	if sum.Models, sum.Artifacts, err = d.s.registry.DeleteDemo(ctx, actor); err != nil {
		return sum, err
	}
	if _, err := d.s.register.DeleteDemo(ctx, actor); err != nil {
		return sum, err
	}
	sum.Keys, err = d.s.access.RemoveDemo(ctx, actor)
	return sum, err
}
