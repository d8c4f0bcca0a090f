package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/access"
	"github.com/modelwarden/warden/internal/queue"
	"github.com/modelwarden/warden/internal/registry"
)

// How often the background looks at things.
const (
	sealEvery    = time.Second
	requeueEvery = 5 * time.Second
	refreshEvery = 2 * time.Second
	sweepEvery   = time.Hour
	renewEvery   = time.Hour
	orphanAge    = 24 * time.Hour   // time between upload and push
	holdFor      = 20 * time.Second // a job of a killed process is done again after so long
	holdEvery    = 5 * time.Second

	keepUsesEvery = time.Minute
	registerEvery = 5 * time.Second
	progressEvery = time.Second
	jobsKept      = 7 * 24 * time.Hour // that are done
)

// background starts the workers. They end when ctx ends; wg waits for them.
func (s *Server) background(ctx context.Context, wg *sync.WaitGroup) {
	s.follow(ctx, wg)
	s.every(ctx, wg, "read trust store and policies", refreshEvery, func() error { return s.judge.Refresh(ctx) })
	s.every(ctx, wg, "keep when keys were used", keepUsesEvery, func() error { return s.access.KeepUses(ctx) })
	if s.cfg.does(RoleGateway) {
		wg.Go(func() {
			if err := s.gateway.Serve(ctx); err != nil {
				s.opts.Log.ErrorContext(ctx, "gateway ended", slog.Any("error", err))
			}
		})
	}
	s.every(ctx, wg, "load stored routes", routesEvery, func() error { return s.loadRoutes(ctx) })
	if s.cfg.does(RoleAPI) {
		s.every(ctx, wg, "renew the key of this machine", renewEvery, func() error { return s.local(ctx) })
	}
	if s.cfg.does(RoleWorker) {
		for range s.cfg.Limits.Workers {
			wg.Go(func() { s.worker(ctx) })
		}
		wg.Go(func() {
			s.store.Lead(ctx, "upkeep", func(ctx context.Context) {
				var wg sync.WaitGroup
				s.upkeep(ctx, &wg)
				wg.Wait()
			})
		})
	}
	if s.demo != nil {
		wg.Go(func() { s.demo.restore(ctx) })
	}
}

// upkeep is what one process does for all that share the database.
func (s *Server) upkeep(ctx context.Context, wg *sync.WaitGroup) {
	s.every(ctx, wg, "show checkpoints to witnesses", witnessEvery, func() error {
		_, err := s.witnesses.Push(ctx)
		return err
	})
	s.every(ctx, wg, "copy checkpoints outside", outsideEvery, func() error { return s.outside(ctx) })
	s.every(ctx, wg, "seal the audit log", sealEvery, func() error {
		_, err := s.registry.Seal(ctx)
		return err
	})
	s.every(ctx, wg, "offer wanted scans", requeueEvery, func() error {
		_, err := s.registry.Requeue(ctx)
		return err
	})
	s.every(ctx, wg, "decide again after changes of trust and policies", refreshEvery, func() error {
		_, err := s.governor.Reconcile(ctx)
		return err
	})
	s.every(ctx, wg, "sweep blobs nobody names", sweepEvery, func() error {
		_, err := s.registry.SweepBlobs(ctx, orphanAge)
		return errors.Join(err, s.sweep(ctx), s.registry.SweepJobs(ctx, jobsKept))
	})
	s.every(ctx, wg, "sweep records and contents of traffic", sweepEvery, func() error {
		_, err := s.traffic.Sweep(ctx)
		_, err2 := s.archive.Sweep(ctx, s.opts.Now())
		return errors.Join(err, err2)
	})
	s.every(ctx, wg, "bring the register of assets in line", registerEvery, func() error {
		_, err := s.register.Board(ctx)
		return err
	})
	s.every(ctx, wg, "renew old scans", renewEvery, func() error { return s.rescanOld(ctx) })
}

// every does something at once and then at intervals. Failures are logged and
// tried again: the rows in the database are what counts.
func (s *Server) every(ctx context.Context, wg *sync.WaitGroup, what string, interval time.Duration, do func() error) {
	wg.Go(func() {
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			if err := do(); err != nil && ctx.Err() == nil {
				s.opts.Log.ErrorContext(ctx, "background work failed", slog.String("what", what), slog.Any("error", err))
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
}

// worker scans artifacts, one after another.
func (s *Server) worker(ctx context.Context) {
	for {
		d, err := s.queue.Receive(ctx)
		if ctx.Err() != nil || errors.Is(err, queue.ErrClosed) {
			return
		}
		if err != nil {
			s.opts.Log.ErrorContext(ctx, "work cannot be received", slog.Any("error", err))
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Second):
			}
			continue
		}
		s.work(ctx, d)
	}
}

func (s *Server) work(ctx context.Context, d queue.Delivery) {
	job := d.Job()
	digest, err := warden.ParseDigest(job.Key)
	if err != nil { // not ours: nothing can be done with it
		s.opts.Log.ErrorContext(ctx, "job without a digest", slog.Any("error", err))
		err = nil
	} else {
		stop := hold(ctx, d)
		err = s.examine(ctx, digest, job)
		stop()
	}
	switch {
	case err == nil:
		err = d.Ack(ctx)
	case ctx.Err() != nil:
		return // delivered again at the next start
	default:
		s.opts.Log.ErrorContext(ctx, "scan failed", slog.String("artifact", job.Key), slog.Int("attempt", job.Attempt), slog.Any("error", err))
		err = d.Retry(ctx, time.Duration(job.Attempt)*time.Second)
	}
	if err != nil && ctx.Err() == nil {
		s.opts.Log.ErrorContext(ctx, "job cannot be given back", slog.Any("error", err))
	}
}

// hold keeps a delivery while it is worked on.
func hold(ctx context.Context, d queue.Delivery) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(holdEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if d.Extend(ctx) != nil {
					return
				}
			}
		}
	})
	return func() { cancel(); wg.Wait() }
}

func (s *Server) examine(ctx context.Context, digest warden.Digest, job queue.Job) error {
	wanted, err := s.registry.StartJob(ctx, digest, job.Attempt)
	switch {
	case err != nil || !wanted:
		return err
	case job.Dead():
		_, err = s.examiner.GiveUp(ctx, digest, fmt.Errorf("%d attempts to scan it ended without a result", queue.MaxAttempts))
	default:
		err = s.scan(ctx, digest)
	}
	var we *warden.Error
	if errors.As(err, &we) && we.Code == warden.CodeNotFound {
		return nil // removed meanwhile
	}
	return err
}

// scan examines an artifact, keeps how far that has come, and stops when
// somebody cancels it.
func (s *Server) scan(ctx context.Context, d warden.Digest) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var (
		seen registry.Progress
		wg   sync.WaitGroup
		done = make(chan struct{})
	)
	wg.Go(func() {
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			files, bytes := seen.Done()
			wanted, err := s.registry.ProgressJob(ctx, d, files, bytes)
			if err != nil && ctx.Err() == nil {
				s.opts.Log.WarnContext(ctx, "progress of a scan cannot be kept", slog.Any("error", err))
			}
			if !wanted {
				cancel(registry.ErrCancelled)
			}
		}
	})
	_, err := s.examiner.Follow(ctx, d, &seen)
	close(done)
	wg.Wait()
	switch {
	case err == nil:
		return nil
	case errors.Is(context.Cause(ctx), registry.ErrCancelled), errors.Is(err, registry.ErrCancelled):
		s.opts.Log.InfoContext(ctx, "scan cancelled", slog.String("artifact", d.String()))
		return nil
	case ctx.Err() != nil:
		return err // the process ends: it is done again
	}
	return errors.Join(err, s.registry.ReturnJob(ctx, d, err))
}

// rescanOld wants a new scan of every artifact whose last one was made with
// other rules or ends soon. The old decision holds until then; one that ended
// is refused by policy.
func (s *Server) rescanOld(ctx context.Context) error {
	holds := time.Duration(s.cfg.Limits.ScanDays) * 24 * time.Hour
	before := s.opts.Now().Add(-holds + min(holds/4, 7*24*time.Hour))
	for epoch := uint64(0); ; {
		old := map[warden.Digest]string{} // and why
		var page []registry.Artifact
		err := s.registry.View(ctx, func(r registry.Reader) (err error) {
			if page, err = r.ChangedSince(ctx, epoch, 1000); err != nil {
				return err
			}
			for _, a := range page {
				sc, err := r.Scan(ctx, a.Digest)
				switch {
				case errors.Is(err, registry.ErrNotFound):
				case err != nil:
					return err
				case sc.RuleSet != s.opts.Tool.Rules:
					old[a.Digest] = "rules"
				case sc.At.Before(before):
					old[a.Digest] = "age"
				}
			}
			ws, err := r.Wanted(ctx, wantedKept)
			for _, w := range ws {
				delete(old, w.Artifact)
			}
			return err
		})
		if err != nil {
			return err
		}
		for d, why := range old {
			if err := s.registry.Rescan(ctx, d, why, registry.Worker()); err != nil {
				return err
			}
		}
		if len(page) == 0 {
			return nil
		}
		epoch = page[len(page)-1].Epoch
	}
}

// wantedKept is how many wanted scans are looked at to want none twice. What is
// beyond is wanted again, which changes nothing but the log.
const wantedKept = 100_000

// Platform is the principal of what the platform does by itself.
func Platform() warden.Principal { return warden.Principal{ID: "service:platform"} }

// A Local is how commands on the same machine reach the server. It is kept in
// the data folder, readable by its owner only.
type Local struct {
	API     string    `json:"api"`     // base URL
	Gateway string    `json:"gateway"` // base URL
	Key     string    `json:"key"`     // access key with the role admin
	Expires time.Time `json:"expires"`
}

// LocalFile is the name of a Local in the data folder.
const LocalFile = "local.json"

// showMetrics writes where metrics are.
func (s *Server) showMetrics() {
	if u := s.adminURL.Load(); u != nil && s.opts.Banner != nil {
		fmt.Fprintf(s.opts.Banner, "metrics  %s/metrics\n", *u)
	}
}

// ready writes the addresses, makes the local key and, at the first start, the
// one-time administrator link.
func (s *Server) ready(ctx context.Context) error {
	if u := s.gatewayURL.Load(); u != nil && s.opts.Banner != nil {
		fmt.Fprintf(s.opts.Banner, "gateway  %s/v1\n", *u)
	}
	defer s.showMetrics()
	if !s.cfg.does(RoleAPI) {
		return nil
	}
	if err := s.local(ctx); err != nil {
		return fmt.Errorf("write %s: %w", LocalFile, err)
	}
	if s.opts.Banner == nil {
		return nil
	}
	fmt.Fprintf(s.opts.Banner, "console  %s\n", s.console())
	if s.keys.first {
		link, err := s.Link(ctx)
		if err != nil {
			return err
		}
		fmt.Fprintf(s.opts.Banner, "sign in  %s (once, within 24 hours)\n", link)
	} else {
		fmt.Fprintf(s.opts.Banner, "sign in  with an access key, or make a new link: warden access link --data %s\n", s.cfg.Data)
	}
	return nil
}

// console returns the base URL by which people reach the console.
func (s *Server) console() string {
	if u := s.apiURL.Load(); s.cfg.API.URL == "" && u != nil {
		return *u
	}
	return strings.TrimSuffix(s.cfg.API.URL, "/")
}

// Link makes a one-time administrator link.
func (s *Server) Link(ctx context.Context) (string, error) {
	token, err := s.access.CreateLink(ctx, "user:admin", []string{access.RoleAdmin}, Platform())
	if err != nil {
		return "", err
	}
	return s.console() + "/#/login?link=" + token.Reveal(), nil
}

const (
	localKeyTTL = 30 * 24 * time.Hour
	localRenew  = 7 * 24 * time.Hour
)

// local writes how commands on this machine reach the server, with a key that
// is valid for at least a week more.
func (s *Server) local(ctx context.Context) error {
	s.localMu.Lock()
	defer s.localMu.Unlock()
	name := s.cfg.path(LocalFile)
	l, err := ReadLocal(name)
	before := l
	valid := err == nil && s.opts.Now().Add(localRenew).Before(l.Expires)
	if valid {
		_, err := s.access.Key(ctx, l.Key)
		valid = err == nil
	}
	if !valid {
		k, secret, err := s.access.CreateKey(ctx, access.NewKey{Name: "commands on this machine", Principal: "user:local", Roles: []string{access.RoleAdmin}, TTL: localKeyTTL}, Platform())
		if err != nil {
			return err
		}
		l.Key, l.Expires = secret.Reveal(), k.Expires
	}
	l.API, l.Gateway = *s.apiURL.Load(), ""
	if u := s.gatewayURL.Load(); u != nil {
		l.Gateway = *u
	}
	if err == nil && l == before {
		return nil
	}
	b, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(name, append(b, '\n'))
}
