package store

import (
	"context"
	"errors"
	"slices"

	"github.com/modelwarden/warden/internal/registry"
)

// maxBatch is how many updates share one commit.
const maxBatch = 256

// maxTries is how often an update runs that the engine ends for a conflict.
const maxTries = 8

// An op is an update that waits for a commit.
type op struct {
	ctx      context.Context //nolint:containedctx // of the caller, who waits for done
	fn       func(*tx) error
	panicked any
	done     chan error // receives once; buffered
}

// Update implements [registry.Store].
func (s *Store) Update(ctx context.Context, fn func(registry.Tx) error) error {
	return s.update(ctx, func(t *tx) error { return fn(t) })
}

// update runs fn in a transaction that is on disk when it returns nil; the
// rooms' updates are made of it. Of the callers that wait, the one that gets
// the writer runs the updates of all, each in a savepoint, and commits once.
func (s *Store) update(ctx context.Context, fn func(*tx) error) error {
	o := &op{ctx: ctx, fn: fn, done: make(chan error, 1)}
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		return ErrClosed
	}
	s.pending = append(s.pending, o)
	s.mu.Unlock()
	for {
		select {
		case err := <-o.done:
			return o.finish(err)
		default:
		}
		select {
		case err := <-o.done:
			return o.finish(err)
		case c := <-s.writer:
			s.lead(c) //nolint:contextcheck // a shared commit is nobody's alone
		case <-ctx.Done():
			return s.leave(o, ctx.Err())
		case <-s.closed:
			return s.leave(o, ErrClosed)
		}
	}
}

func (o *op) finish(err error) error {
	if o.panicked != nil {
		panic(o.panicked)
	}
	return err
}

// leave takes o back and returns err, unless it is being run already: then what
// comes of it is the answer.
func (s *Store) leave(o *op, err error) error {
	s.mu.Lock()
	i := slices.Index(s.pending, o)
	if i >= 0 {
		s.pending = slices.Delete(s.pending, i, i+1)
	}
	s.mu.Unlock()
	if i >= 0 {
		return err
	}
	return o.finish(<-o.done)
}

// lead runs the updates that wait and gives the writer back.
func (s *Store) lead(c *conn) {
	defer func() { s.writer <- c }()
	s.mu.Lock()
	n := min(len(s.pending), maxBatch)
	batch := slices.Clone(s.pending[:n])
	s.pending = slices.Delete(s.pending, 0, n)
	s.mu.Unlock()
	if len(batch) == 0 {
		return
	}
	if len(batch) > 1 && shared(c, batch) {
		return
	}
	for _, o := range batch {
		err := alone(c, o)
		for try := 1; c.engine.again != nil && c.engine.again(err) && try < maxTries; try++ {
			err = alone(c, o)
		}
		o.done <- err
	}
}

// alone runs one update in its own transaction.
func alone(c *conn, o *op) error {
	if err := o.ctx.Err(); err != nil {
		return err
	}
	if err := c.begin(context.WithoutCancel(o.ctx)); err != nil {
		return err
	}
	if err := o.run(c); err != nil {
		if c.c == nil {
			return err
		}
		// After errors such as a full disk SQLite has rolled back already.
		_ = c.end(o.ctx, "ROLLBACK")
		return err
	}
	return c.end(o.ctx, "COMMIT")
}

// shared runs updates in one transaction and reports whether it was committed.
// If not, nothing happened, and no update was told anything.
func shared(c *conn, batch []*op) bool {
	ctx := context.WithoutCancel(batch[0].ctx)
	if c.begin(ctx) != nil {
		return false
	}
	results := make([]error, len(batch))
	for i, o := range batch {
		if results[i] = o.ctx.Err(); results[i] != nil {
			continue
		}
		err := c.control(ctx, "SAVEPOINT one")
		if err == nil {
			if results[i] = o.run(c); results[i] != nil {
				err = c.rewind(ctx, results[i])
			}
		}
		if err == nil {
			err = c.control(ctx, "RELEASE one")
		}
		if err != nil { // the transaction is gone
			_ = c.end(ctx, "ROLLBACK")
			return false
		}
	}
	if c.end(ctx, "COMMIT") != nil {
		return false
	}
	for i, o := range batch {
		o.done <- results[i]
	}
	return true
}

// rewind undoes one update of a shared transaction. If err says that the whole
// transaction conflicts, or is gone, it must be run again from its beginning.
func (c *conn) rewind(ctx context.Context, err error) error {
	if c.c == nil || c.engine.again != nil && c.engine.again(err) {
		return err
	}
	return c.control(ctx, "ROLLBACK TO one")
}

var errPanic = errors.New("transaction function panicked")

// run calls fn. A panic is kept for the caller whose function it is: this may
// be another goroutine.
func (o *op) run(c *conn) (err error) {
	o.panicked = nil
	defer func() {
		if p := recover(); p != nil {
			o.panicked, err = p, errPanic
		}
	}()
	return o.fn(&tx{view{c}})
}
