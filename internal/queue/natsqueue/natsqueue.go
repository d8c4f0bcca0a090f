// Package natsqueue is the queue on JetStream. It runs a NATS server inside the
// process, which listens on no port and keeps its files in a data folder, or it
// uses the servers of a cluster, which several processes share: the same code
// but for the connection.
//
// A job is one message under a subject made of its class and key, in a stream
// that takes one message a subject: so a key that is outstanding is refused by
// the server, whoever enqueues it. JetStream acknowledges before it flushes to
// disk; jobs are hints at rows of the registry, so nothing is lost by that.
package natsqueue

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/queue"
)

const (
	startTime   = 30 * time.Second // to recover the files of a long queue
	storeBytes  = 4 << 30          // at most on disk
	memoryBytes = 64 << 20
	pollMost    = time.Second // how late a redelivery is seen
	workStream  = "work"
)

// A Config is what a [Queue] needs.
type Config struct {
	Dir     string        // of the server's files; belongs to one process
	Hold    time.Duration // a job that is held longer is delivered again; 0 means 60 seconds
	MaxJobs int64         // outstanding jobs; 0 means 100,000

	URL         string // servers of a cluster, with commas between them; "": a server in this process
	Credentials string // path of a credentials file for the cluster; "": none
	Replicas    int    // copies of each job in the cluster; 0 means 3
}

// A Queue implements [queue.Work] and [queue.Events].
type Queue struct {
	cfg       Config
	server    *server.Server // nil: a cluster elsewhere
	conn      *nats.Conn
	js        jetstream.JetStream
	stream    jetstream.Stream
	consumers map[queue.Class]jetstream.Consumer

	mu     sync.Mutex                // guards the fields below
	bell   chan struct{}             // closed when a job may be ready; replaced then
	given  int                       // deliveries so far
	added  map[queue.Class]time.Time // when a job was last enqueued here
	closed bool
	subs   map[*subscription]struct{}
}

// Open starts the server and recovers its jobs. Close the queue.
func Open(ctx context.Context, cfg Config) (*Queue, error) {
	if cfg.Dir == "" && cfg.URL == "" {
		return nil, errors.New("open queue: a folder or the address of a cluster is required")
	}
	switch {
	case cfg.URL == "":
		cfg.Replicas = 1
	case cfg.Replicas == 0:
		cfg.Replicas = 3
	}
	if cfg.Hold == 0 {
		cfg.Hold = time.Minute
	}
	if cfg.MaxJobs == 0 {
		cfg.MaxJobs = 100_000
	}
	q := &Queue{cfg: cfg, bell: make(chan struct{}), subs: map[*subscription]struct{}{}, added: map[queue.Class]time.Time{}, consumers: map[queue.Class]jetstream.Consumer{}}
	if err := q.start(ctx); err != nil {
		q.Close()
		if cfg.URL != "" {
			return nil, unreachable(cfg.URL, err)
		}
		return nil, fmt.Errorf("open queue in %s: %w", cfg.Dir, err)
	}
	return q, nil
}

// embed starts a server in this process and connects to it.
func (q *Queue) embed() (err error) {
	q.server, err = server.NewServer(&server.Options{
		ServerName: "warden", DontListen: true, NoLog: true, NoSigs: true,
		JetStream: true, StoreDir: q.cfg.Dir, JetStreamMaxStore: storeBytes, JetStreamMaxMemory: memoryBytes,
	})
	if err != nil {
		return err
	}
	q.server.Start()
	if !q.server.ReadyForConnections(startTime) {
		return fmt.Errorf("the NATS server was not ready after %v", startTime)
	}
	q.conn, err = nats.Connect("", nats.InProcessServer(q.server), nats.NoReconnect())
	return err
}

// join connects to a cluster, and again to any of its servers whenever the
// connection is lost, for as long as it takes.
func (q *Queue) join() (err error) {
	options := []nats.Option{
		nats.Name("warden"), nats.MaxReconnects(-1), nats.ReconnectWait(250 * time.Millisecond), nats.PingInterval(2 * time.Second), nats.MaxPingsOutstanding(2),
		nats.ReconnectHandler(func(*nats.Conn) { q.ring() }),
	}
	if q.cfg.Credentials != "" {
		options = append(options, nats.UserCredentials(q.cfg.Credentials))
	}
	q.conn, err = nats.Connect(q.cfg.URL, options...)
	return err
}

func unreachable(url string, err error) error {
	return &warden.Error{
		Code: warden.CodeUnavailable, Message: "the queue's cluster " + url + " cannot be used: " + err.Error(), Err: err,
		Hint: "check that the NATS servers run with JetStream, that queue.nats names them, and that queue.replicas is not more than there are",
	}
}

func (q *Queue) start(ctx context.Context) (err error) {
	if q.cfg.URL == "" {
		err = q.embed()
	} else {
		err = q.join()
	}
	if err != nil {
		return err
	}
	if q.js, err = jetstream.New(q.conn); err != nil {
		return err
	}
	q.stream, err = q.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: workStream, Subjects: []string{"work.*.*"}, Retention: jetstream.WorkQueuePolicy, Storage: jetstream.FileStorage,
		MaxMsgs: q.cfg.MaxJobs, MaxMsgsPerSubject: 1, Discard: jetstream.DiscardNew, DiscardNewPerSubject: true,
		Replicas: q.cfg.Replicas,
	})
	if err != nil {
		return err
	}
	for _, class := range queue.Classes() {
		q.consumers[class], err = q.stream.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
			Durable: string(class), FilterSubject: "work." + string(class) + ".*", AckPolicy: jetstream.AckExplicitPolicy,
			AckWait: q.cfg.Hold, MaxDeliver: -1, MaxAckPending: int(q.cfg.MaxJobs),
		})
		if err != nil {
			return err
		}
	}
	// Whoever enqueues, on any node, wakes the receivers here.
	_, err = q.conn.Subscribe("work.*.*", func(*nats.Msg) { q.ring() })
	return err
}

// Close ends all waiting and stops the server.
func (q *Queue) Close() {
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return
	}
	q.closed = true
	subs := q.subs
	q.subs = nil
	q.mu.Unlock()
	q.ring()
	if q.conn != nil {
		q.conn.Close()
	}
	for s := range subs {
		s.end()
	}
	if q.server != nil {
		q.server.Shutdown()
		q.server.WaitForShutdown()
	}
}

func (q *Queue) ring() {
	q.mu.Lock()
	defer q.mu.Unlock()
	close(q.bell)
	q.bell = make(chan struct{})
}

// A message is a job as it is kept.
type message struct {
	Key  string `json:"key"`
	Body []byte `json:"body"`
}

// answerTime is how long one answer of a server is waited for: one that dies in
// between never gives it, and another one answers the next question. A job that
// was stored without an answer is there when it is enqueued again.
const answerTime = 3 * time.Second

// Enqueue implements [queue.Work].
func (q *Queue) Enqueue(ctx context.Context, class queue.Class, key string, body []byte) (bool, error) {
	if !slices.Contains(queue.Classes(), class) {
		return false, fmt.Errorf("enqueue %q: unknown class %q", key, class)
	}
	b, err := json.Marshal(message{key, body})
	if err != nil {
		return false, fmt.Errorf("enqueue %q: %w", key, err)
	}
	name := warden.Sum([]byte(key)) // any text is a key, few are subjects
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	_, err = q.js.Publish(ctx, "work."+string(class)+"."+hex.EncodeToString(name[:]), b)
	var api *jetstream.APIError
	switch {
	case err == nil:
		q.mu.Lock()
		q.added[class] = time.Now()
		q.mu.Unlock()
		return true, nil
	case errors.Is(err, nats.ErrConnectionClosed):
		return false, queue.ErrClosed
	case errors.As(err, &api) && strings.Contains(api.Description, "per subject"):
		return false, nil
	case errors.As(err, &api) && strings.Contains(api.Description, "maximum messages"):
		return false, fmt.Errorf("%w: %d jobs", queue.ErrFull, q.cfg.MaxJobs)
	default:
		return false, fmt.Errorf("enqueue %q: %w", key, err)
	}
}

// Outstanding implements [queue.Work].
func (q *Queue) Outstanding(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	info, err := q.stream.Info(ctx)
	if err != nil {
		return 0, fmt.Errorf("count jobs: %w", err)
	}
	return int(info.State.Msgs), nil
}

// Receive implements [queue.Work].
func (q *Queue) Receive(ctx context.Context) (queue.Delivery, error) {
	for {
		q.mu.Lock()
		bell, closed, turn := q.bell, q.closed, (q.given+1)%queue.Fairness == 0
		q.mu.Unlock()
		if closed {
			return nil, queue.ErrClosed
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		classes := queue.Classes()
		if turn { // of those below
			classes = append(classes[1:], classes[0])
		}
		for _, class := range classes {
			d, err := q.fetch(ctx, class)
			for range lagLooks {
				if d != nil || err != nil || !q.lagging(class) {
					break
				}
				time.Sleep(lagTime / lagLooks)
				d, err = q.fetch(ctx, class)
			}
			if err != nil {
				return nil, err
			}
			if d != nil {
				q.mu.Lock()
				q.given++
				q.mu.Unlock()
				return d, nil
			}
		}
		timer := time.NewTimer(min(pollMost, max(q.cfg.Hold/8, time.Millisecond)))
		select {
		case <-bell:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// A stream tells its consumers of a new message a moment after it has
// acknowledged it. Until then a class seems to be empty, and one below it would
// go first.
const (
	lagTime  = 20 * time.Millisecond
	lagLooks = 5
)

// lagging reports whether a job of a class was enqueued here just now.
func (q *Queue) lagging(class queue.Class) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return time.Since(q.added[class]) < lagTime
}

// fetch returns a job of a class that is ready, or nil.
func (q *Queue) fetch(ctx context.Context, class queue.Class) (queue.Delivery, error) {
	batch, err := q.consumers[class].FetchNoWait(1)
	if err != nil {
		return nil, q.ended(err)
	}
	var msg jetstream.Msg
	var ok bool
	late := time.NewTimer(answerTime)
	defer late.Stop()
	select {
	case msg, ok = <-batch.Messages():
	case <-late.C: // what comes after all is delivered again when its hold ends
		return nil, fmt.Errorf("receive job: no answer in %v", answerTime)
	}
	if !ok {
		return nil, q.ended(batch.Error())
	}
	at := time.Now()
	meta, err := msg.Metadata()
	if err != nil {
		return nil, fmt.Errorf("receive job: %w", err)
	}
	var m message
	if err := json.Unmarshal(msg.Data(), &m); err != nil { // not ours: nobody can work it
		return nil, errors.Join(fmt.Errorf("receive job %d: %w", meta.Sequence.Stream, err), msg.TermWithReason("malformed"))
	}
	if ctx.Err() != nil { // nobody waits any more
		return nil, errors.Join(ctx.Err(), msg.Nak())
	}
	job := queue.Job{Class: class, Key: m.Key, Body: m.Body, Attempt: int(min(meta.NumDelivered, queue.MaxAttempts+1))}
	return &delivery{q: q, msg: msg, job: job, until: at.Add(q.cfg.Hold)}, nil
}

// ended explains an error that Close causes.
func (q *Queue) ended(err error) error {
	q.mu.Lock()
	closed := q.closed
	q.mu.Unlock()
	switch {
	case err == nil, errors.Is(err, nats.ErrTimeout):
		return nil
	case closed, errors.Is(err, nats.ErrConnectionClosed):
		return queue.ErrClosed
	default:
		return fmt.Errorf("receive job: %w", err)
	}
}

type delivery struct {
	q   *Queue
	msg jetstream.Msg
	job queue.Job

	mu    sync.Mutex // guards until
	until time.Time  // the server delivers the job again after this
}

// Job implements [queue.Delivery].
func (d *delivery) Job() queue.Job { return d.job }

// Ack implements [queue.Delivery].
func (d *delivery) Ack(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	if err := d.msg.DoubleAck(ctx); err != nil {
		return fmt.Errorf("acknowledge job %s: %w", d.job.Key, err)
	}
	return nil
}

// Retry implements [queue.Delivery].
func (d *delivery) Retry(_ context.Context, delay time.Duration) error {
	var err error
	if delay <= 0 {
		err = d.msg.Nak()
	} else {
		err = d.msg.NakWithDelay(delay)
	}
	if err != nil {
		return fmt.Errorf("give back job %s: %w", d.job.Key, err)
	}
	if delay <= 0 {
		d.q.ring()
	}
	return nil
}

// Extend implements [queue.Delivery].
func (d *delivery) Extend(context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	if now.After(d.until) {
		return fmt.Errorf("%w: %s", queue.ErrTaken, d.job.Key)
	}
	if err := d.msg.InProgress(); err != nil {
		return fmt.Errorf("hold job %s longer: %w", d.job.Key, err)
	}
	d.until = now.Add(d.q.cfg.Hold)
	return nil
}
