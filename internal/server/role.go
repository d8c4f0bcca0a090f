package server

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modelwarden/warden/internal/queue"
)

// The roles of a process. By default one process has them all; several that
// share database, blobs and queue divide them as they like.
const (
	RoleGateway = "gateway" // inference traffic
	RoleAPI     = "api"     // API, console, uploads and downloads
	RoleWorker  = "worker"  // scans and upkeep
)

// Roles lists all roles.
func Roles() []string { return []string{RoleGateway, RoleAPI, RoleWorker} }

// does reports whether this process has a role.
func (c Config) does(role string) bool { return slices.Contains(c.Roles, role) }

func (c Config) checkRoles() error {
	if len(c.Roles) == 0 {
		return configError("roles", fmt.Errorf("is empty, want some of %v", Roles()))
	}
	for _, r := range c.Roles {
		if !slices.Contains(Roles(), r) {
			return configError("roles", fmt.Errorf("%q is none of %v", r, Roles()))
		}
	}
	if len(c.Roles) < len(Roles()) && !c.shared() {
		return configError("roles", fmt.Errorf("%v: the embedded database is for one process, which needs every role", c.Roles))
	}
	return nil
}

// changedTopic is where processes tell each other that an artifact changed; the
// body is the epoch.
const changedTopic = "registry.changed"

// followEvery is how late a change by another process is seen if its event is
// lost.
const followEvery = 500 * time.Millisecond

// follow tells this process what others change, and others what this one does.
func (s *Server) follow(ctx context.Context, wg *sync.WaitGroup) {
	if !s.cfg.shared() {
		return
	}
	var (
		heard atomic.Uint64 // greatest epoch that was told or heard of
		wake  = make(chan struct{}, 1)
	)
	wg.Go(func() { s.registry.Follow(ctx, followEvery, wake) })
	wg.Go(func() {
		for c := range s.registry.Changes(ctx) {
			if before := heard.Load(); c.Epoch <= before || !heard.CompareAndSwap(before, c.Epoch) {
				continue // it is another's, who told it
			}
			// Losing the event costs followEvery; nothing else hangs on it.
			if err := s.queue.Publish(ctx, queue.Event{Topic: changedTopic, Body: strconv.AppendUint(nil, c.Epoch, 10)}); err != nil && ctx.Err() == nil {
				s.opts.Log.WarnContext(ctx, "change was not announced", slog.Any("error", err))
			}
		}
	})
	wg.Go(func() {
		sub, err := s.queue.Subscribe(ctx, changedTopic, 64)
		if err != nil {
			s.opts.Log.WarnContext(ctx, "changes of other processes are polled only", slog.Any("error", err))
			return
		}
		defer sub.Close()
		for {
			select {
			case <-ctx.Done():
				return
			case e, ok := <-sub.C():
				if !ok {
					return
				}
				epoch, err := strconv.ParseUint(string(e.Body), 10, 64)
				if before := heard.Load(); err == nil && epoch > before {
					heard.CompareAndSwap(before, epoch)
				}
				select {
				case wake <- struct{}{}:
				default: // one look will do for both
				}
			}
		}
	})
}
