package memqueue_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/modelwarden/warden/internal/queue/memqueue"
	"github.com/modelwarden/warden/internal/queue/queuetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestQueue(t *testing.T) {
	queuetest.TestQueue(t, func(t *testing.T) queuetest.Queue {
		q := memqueue.New(queuetest.Hold, 1000)
		t.Cleanup(q.Close)
		return q
	})
}
