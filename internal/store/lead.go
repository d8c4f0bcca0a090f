package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	leadEvery   = time.Second     // how often others try, and the leader makes sure that it still leads
	leadSilence = 3 * time.Second // a leader whose database is silent for so long leads no more
)

// Lead runs fn while this process is the leader of those that share the
// database: the only one that runs fn under this name. With the embedded engine
// there are no others. Otherwise it waits for its turn, ends the context of fn
// when the connection that holds the lock is lost, and waits again. It returns
// when ctx has ended and fn has returned.
//
// A leader that was cut off may go on for [leadSilence]: what fn does must be
// harmless if it is done twice.
func (s *Store) Lead(ctx context.Context, name string, fn func(ctx context.Context)) {
	if !s.engine.remote {
		fn(ctx)
		return
	}
	for ctx.Err() == nil {
		if c := s.elect(ctx, name); c != nil {
			s.reign(ctx, c, fn)
		}
		select {
		case <-ctx.Done():
		case <-s.closed:
			return
		case <-time.After(leadEvery):
		}
	}
}

// elect returns the connection that holds the lock, or nil if another has it.
func (s *Store) elect(ctx context.Context, name string) *sql.Conn {
	ctx, cancel := context.WithTimeout(ctx, leadSilence)
	defer cancel()
	c, err := s.db.Conn(ctx)
	if err != nil {
		return nil
	}
	var held bool
	// Locks are per database; processes that share a schema share the lock.
	err = c.QueryRowContext(ctx, `SELECT pg_try_advisory_lock(hashtextextended('warden ' || current_schema() || ' ' || $1, 0))`, name).Scan(&held)
	if err != nil || !held {
		_ = drop(c)
		return nil
	}
	return c
}

// reign runs fn until ctx ends or c is lost, and gives up the lock.
func (s *Store) reign(ctx context.Context, c *sql.Conn, fn func(ctx context.Context)) {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() { fn(inner); cancel() })
	tick := time.NewTicker(leadEvery)
	defer tick.Stop()
	for inner.Err() == nil {
		select {
		case <-inner.Done():
		case <-s.closed:
			cancel()
		case <-tick.C:
			if alive(ctx, c) != nil {
				cancel()
			}
		}
	}
	wg.Wait()
	_ = drop(c) // ends the session and with it the lock
}

func alive(ctx context.Context, c *sql.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, leadSilence)
	defer cancel()
	_, err := c.ExecContext(ctx, "SELECT 1")
	if err != nil {
		return fmt.Errorf("ask the database: %w", err)
	}
	return nil
}

// drop closes a connection instead of giving it back to the pool.
func drop(c *sql.Conn) error {
	gone := errors.New("is not used again")
	_ = c.Raw(func(raw any) error {
		if x, ok := raw.(interface{ Close() error }); ok {
			return errors.Join(gone, x.Close())
		}
		return gone
	})
	return c.Close()
}
