package registry

import (
	"context"

	"github.com/modelwarden/warden"
)

// A Change says that the state of an artifact may be another than before.
type Change struct {
	Epoch    uint64
	Artifact warden.Digest
	State    State
	All      bool // some changes were missed: forget everything remembered
}

// changeBuffer is how many changes wait for one listener. One that falls behind
// further is told to forget everything, which is always safe.
const changeBuffer = 256

// Changes returns a channel of the changes that this process commits from now
// on. It is closed when ctx ends. Other processes' changes show in the epoch only.
func (s *Service) Changes(ctx context.Context) <-chan Change {
	c := make(chan Change, changeBuffer)
	s.mu.Lock()
	s.subs[c] = struct{}{}
	s.mu.Unlock()
	context.AfterFunc(ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.subs, c)
		close(c) // senders hold mu too
	})
	return c
}

// tell sends a change to all listeners without waiting for any.
func (s *Service) tell(c Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for sub := range s.subs {
		select {
		case sub <- c:
			continue
		default:
		}
		for len(sub) > 0 { // only this goroutine sends, as it holds mu
			select {
			case <-sub:
			default:
			}
		}
		sub <- Change{Epoch: c.Epoch, All: true}
	}
}
