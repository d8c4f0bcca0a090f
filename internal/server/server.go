package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/access"
	"github.com/modelwarden/warden/internal/access/idp"
	"github.com/modelwarden/warden/internal/access/limit"
	"github.com/modelwarden/warden/internal/api"
	"github.com/modelwarden/warden/internal/attest"
	"github.com/modelwarden/warden/internal/attest/keyless"
	"github.com/modelwarden/warden/internal/attest/oms"
	"github.com/modelwarden/warden/internal/audit"
	"github.com/modelwarden/warden/internal/gateway"
	"github.com/modelwarden/warden/internal/gateway/deadline"
	"github.com/modelwarden/warden/internal/gateway/framing"
	"github.com/modelwarden/warden/internal/inventory/register"
	"github.com/modelwarden/warden/internal/monitor"
	"github.com/modelwarden/warden/internal/policy"
	"github.com/modelwarden/warden/internal/queue/natsqueue"
	"github.com/modelwarden/warden/internal/registry"
	"github.com/modelwarden/warden/internal/report"
	"github.com/modelwarden/warden/internal/store"
	"github.com/modelwarden/warden/rules"
	"github.com/modelwarden/warden/scan"
	"github.com/modelwarden/warden/web"
)

// Options are what a Server needs besides its configuration.
type Options struct {
	Log    *slog.Logger // nil: nothing is logged
	Getenv func(string) string
	Tool   report.Tool
	Banner io.Writer // addresses and the one-time link are written here once
	Now    func() time.Time
}

// A Server is one platform in one process. Open it, Serve it, Close it.
type Server struct {
	cfg  Config
	opts Options
	keys *keys

	lock  *os.File
	store *store.Store
	queue *natsqueue.Queue
	blobs blobStore
	sweep func(ctx context.Context) error // removes uploads that nobody touches

	bucket io.Closer // of blobs; nil for a folder

	registry  *registry.Service
	judge     *registry.Judge
	examiner  *registry.Examiner
	governor  *registry.Governor
	access    *access.Service
	login     *idp.Provider // nil: none is configured
	workloads *idp.Workloads
	gateway   *gateway.Gateway
	stored    storedRoutes
	traffic   *monitor.Service
	archive   *monitor.Archive
	register  *register.Service
	metrics   *prometheus.Registry
	demo      *demo
	log       *audit.Log

	witnesses *audit.Witnesses
	copied    uint64 // size of the checkpoint that was copied outside; only the one that copies uses it

	apiURL, gatewayURL, adminURL atomic.Pointer[string] // base URLs; set by Serve

	localMu sync.Mutex // one writer of the local file
}

// Open opens everything that cfg names in its data folder. It listens on
// nothing and starts no worker.
func Open(ctx context.Context, cfg Config, opts Options) (_ *Server, err error) {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	s := &Server{cfg: cfg, opts: opts, metrics: newRegistry()}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	if s.lock, err = lock(cfg.path("lock")); err != nil {
		return nil, err
	}
	policies, err := Policies(cfg.Policies)
	if err != nil {
		return nil, err
	}
	if err = s.openRecords(ctx); err != nil {
		return nil, err
	}
	if err = s.openBlobs(ctx); err != nil {
		return nil, err
	}
	if s.queue, err = s.openQueue(ctx); err != nil {
		return nil, err
	}
	if err := s.compose(policies); err != nil {
		return nil, err
	}
	// A server whose trust store or policies cannot be read does not start.
	return s, errors.Join(s.judge.Refresh(ctx), s.loadRoutes(ctx))
}

func (s *Server) compose(policies *policy.Set) (err error) {
	o := s.opts
	if err := s.watched(); err != nil {
		return err
	}
	if s.registry, err = registry.New(registry.Config{Store: s.store, Log: s.log, Blobs: s.blobs, Now: o.Now, Work: s.queue, Slog: o.Log, Signer: s.keys.statements}); err != nil {
		return err
	}
	trust, err := s.keys.trust()
	if err != nil {
		return err
	}
	s.judge, err = registry.NewJudge(registry.JudgeConfig{
		Registry: s.registry, Trust: trust, Policies: policies, Now: o.Now, Engine: o.Tool.Version,
		Keyless: func(t attest.Trusted) (oms.KeylessVerifier, error) {
			return keyless.NewVerifier(keyless.VerifierConfig{TrustedRoot: []byte(t.Root), Identity: t.Identity, Issuer: t.Issuer})
		},
	})
	if err != nil {
		return err
	}
	if s.governor, err = registry.NewGovernor(registry.GovernorConfig{Registry: s.registry, Judge: s.judge, Signer: s.keys.statements, Now: o.Now, Person: s.person, Asset: s.asset}); err != nil {
		return err
	}
	s.examiner, err = registry.NewExaminer(registry.ExaminerConfig{
		Registry: s.registry, Blobs: s.blobs, Judge: s.judge, Signer: s.keys.statements, Tool: o.Tool, Now: o.Now,
		ScanFor: time.Duration(s.cfg.Limits.ScanDays) * 24 * time.Hour,
	})
	if err != nil {
		return err
	}
	if s.access, err = access.New(access.Config{Store: s.store, Log: s.log, Pepper: s.keys.pepper, Now: o.Now}); err != nil {
		return err
	}
	if err := s.identity(); err != nil {
		return err
	}
	if s.traffic, err = monitor.New(monitor.Config{Store: s.store, Log: s.log, Now: o.Now}); err != nil {
		return err
	}
	if s.archive, err = monitor.NewArchive(s.store, s.keys.pepper, o.Log); err != nil {
		return err
	}
	tracer, err := s.tracer()
	if err != nil {
		return err
	}
	limits, err := s.cfg.limits()
	if err != nil {
		return err
	}
	var shared limit.Shared
	if s.cfg.Queue.NATS != "" { // other processes may count too
		shared = s.queue.Counters()
	}
	s.gateway, err = gateway.New(gateway.Config{
		Shared: shared, Metrics: s.metrics, Archive: s.archive, Tracer: tracer, TrustTraces: s.cfg.Traces.Trust, Peer: s.cfg.Gateway.TLS.peer,
		Registry: s.registry, Judge: s.judge, Access: s.access, Traffic: s.traffic, Now: o.Now, Log: o.Log, Limits: limits, Token: s.workloads.Identify, QueryKeys: s.cfg.Gateway.QueryKeys,
	})
	if err != nil {
		return err
	}
	routes, err := s.cfg.routes(o.Getenv, true)
	if err != nil {
		return err
	}
	if err := s.gateway.SetRoutes(gateway.FromConfig, routes...); err != nil {
		return configError("gateway.routes", err)
	}
	if err := s.openRoutes(); err != nil {
		return err
	}
	if err := s.openRegister(); err != nil {
		return err
	}
	if s.cfg.Demo && len(s.cfg.Roles) == len(Roles()) { // it plays all of them
		s.demo = newDemo(s)
	}
	return nil
}

// person returns who stands behind a principal. Commands on this machine and
// links that were made there are the same operator.
func (s *Server) person(ctx context.Context, principal string) (string, error) {
	p, err := s.access.Person(ctx, principal)
	if p == "user:admin" {
		p = "user:local"
	}
	return p, err
}

// Policies loads the policy files in dir, or the standard set if dir is "".
func Policies(dir string) (*policy.Set, error) {
	if dir == "" {
		return policy.NewSet("standard", rules.PolicySchema(), policy.Source{Name: "standard.cedar", Text: rules.StandardPolicies()})
	}
	names, err := filepath.Glob(filepath.Join(dir, "*.cedar"))
	if err != nil {
		return nil, err
	}
	var sources []policy.Source
	for _, n := range names {
		src, err := PolicyFile(n)
		if err != nil {
			return nil, err
		}
		sources = append(sources, src)
	}
	set, err := policy.NewSet(filepath.Base(dir), rules.PolicySchema(), sources...)
	if err != nil {
		return nil, &warden.Error{Code: warden.CodeInvalid, Message: err.Error(), Hint: "warden policy check FILE… tells what is wrong; the platform does not start without valid policies", Err: err}
	}
	return set, nil
}

const maxPolicy = 1 << 20

// PolicyFile reads one policy file.
func PolicyFile(name string) (policy.Source, error) {
	st, err := os.Stat(name)
	if err != nil {
		return policy.Source{}, err
	}
	if st.Size() > maxPolicy {
		return policy.Source{}, fmt.Errorf("%s: %d bytes, at most %d", name, st.Size(), maxPolicy)
	}
	text, err := os.ReadFile(name)
	return policy.Source{Name: filepath.Base(name), Text: text}, err
}

// Close closes what Open opened, the last first. It may be called once.
func (s *Server) Close() error {
	var errs []error
	if s.gateway != nil {
		s.gateway.Close()
	}
	if s.queue != nil {
		s.queue.Close()
	}
	if s.bucket != nil {
		errs = append(errs, s.bucket.Close())
	}
	if s.store != nil {
		errs = append(errs, s.store.Close())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	return errors.Join(errs...)
}

// Serve listens, works and answers until ctx ends and running requests have
// drained.
func (s *Server) Serve(ctx context.Context) error {
	served, err := s.listen(ctx)
	if err != nil {
		return err
	}
	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stopWork()
	s.background(work, &wg)

	failed := make(chan error, len(served)+1)
	for _, x := range served {
		wg.Go(func() {
			if err := x.srv.Serve(x.l); !errors.Is(err, http.ErrServerClosed) {
				failed <- err
			}
		})
	}
	if err := s.ready(ctx); err != nil {
		failed <- err
	}
	select {
	case <-ctx.Done():
		err = nil
	case err = <-failed:
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.Limits.Shutdown)
	defer cancel()
	for _, x := range served {
		if x.srv.Shutdown(drain) != nil {
			err = errors.Join(err, x.srv.Close())
		}
	}
	stopWork()
	wg.Wait()
	_, sealErr := s.registry.Seal(context.WithoutCancel(ctx))
	return errors.Join(err, sealErr)
}

// A serving is a server with what it listens on.
type serving struct {
	srv *http.Server
	l   net.Listener
}

// listen takes the addresses that the roles of this process need, the one that
// is drained first at the front.
func (s *Server) listen(ctx context.Context) (out []serving, err error) {
	take := func(role, key, addr string, handler func() http.Handler, url *atomic.Pointer[string]) {
		if err != nil || !s.cfg.does(role) {
			return
		}
		var l net.Listener
		if l, err = listen(key, addr); err != nil {
			return
		}
		base := reach(l)
		if key == "gateway.listen" {
			l = deadline.New().Listener(l)
			var c *tls.Config
			if c, err = s.cfg.Gateway.TLS.server(); err != nil {
				err = errors.Join(err, l.Close())
				return
			}
			if c != nil {
				l = tls.NewListener(l, c)
				base = strings.Replace(base, "http://", "https://", 1)
			} else {
				l = framing.Listener(l)
			}
		}
		url.Store(&base)
		out = append(out, serving{s.httpServer(ctx, handler()), l})
	}
	take(RoleGateway, "gateway.listen", s.cfg.Gateway.Listen, s.gateway.Handler, &s.gatewayURL)
	if s.cfg.Admin.Listen != adminOff {
		take(s.cfg.Roles[0], "admin.listen", s.cfg.Admin.Listen, s.admin, &s.adminURL)
	}
	take(RoleAPI, "api.listen", s.cfg.API.Listen, func() http.Handler { return api.New(s.apiConfig(ctx.Done())) }, &s.apiURL)
	if err != nil {
		for _, x := range out {
			err = errors.Join(err, x.l.Close())
		}
	}
	return out, err
}

// reach returns the base URL by which programs on this machine reach l.
func reach(l net.Listener) string {
	host, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return "http://" + l.Addr().String()
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, port)
}

func listen(key, addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr) //nolint:noctx // binding does not wait
	if err != nil {
		return nil, &warden.Error{Code: warden.CodeUnavailable, Message: fmt.Sprintf("%s: cannot listen on %s: %v", key, addr, err), Hint: "set " + key + " to a free address", Err: err}
	}
	return l, nil
}

func (s *Server) httpServer(ctx context.Context, h http.Handler) *http.Server {
	protocols := &http.Protocols{} // HTTP/2 also without TLS: gRPC wants it
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{
		Protocols: protocols,
		Handler:   h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ConnContext: framing.Context,
		BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
		ErrorLog:    slog.NewLogLogger(s.opts.Log.Handler(), slog.LevelWarn), // panics of handlers, too
	}
}

func (s *Server) apiConfig(done <-chan struct{}) api.Config {
	cfg := api.Config{
		Registry: s.registry, Judge: s.judge, Governor: s.governor, Person: s.person, Blobs: s.blobs, Uploads: s.blobs, Access: s.access, Verifier: s.keys.verifier, Witnesses: s.witnesses, VerifierKey: s.keys.verifierKey,
		PublicKey: s.keys.publicPEM, Rules: scan.Rules(), Tool: s.opts.Tool, Routes: s.routes, Link: s.Link, Login: s.login, Workloads: s.workloads, Archive: s.archive, Web: web.Handler(), Log: s.opts.Log, Now: s.opts.Now,
		MaxBlob: s.cfg.Limits.MaxBlob, Secure: strings.HasPrefix(s.cfg.API.URL, "https:"), Done: done,
	}
	cfg.Traffic, cfg.Stored, cfg.Register = s.traffic, s.stored.svc, s.register
	if s.cfg.does(RoleGateway) {
		cfg.Accounts, cfg.Running = s.gateway.Accounts, s.gateway.Running
	}
	if s.demo != nil {
		cfg.Demo = s.demo
	}
	return cfg
}
