package limit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// ErrUnavailable is wrapped by [Limiter.Reserve] when use cannot be counted.
var ErrUnavailable = errors.New("use cannot be counted")

// A Shared counts together with other replicas. Its methods may be used
// concurrently. An error means that it is not known what was counted.
type Shared interface {
	// Take adds n to a bucket of a counter and returns the bucket's total. n may
	// be negative.
	Take(ctx context.Context, window time.Duration, counter string, bucket, n int64) (int64, error)
	// Sum returns the totals of the buckets [from, to).
	Sum(ctx context.Context, window time.Duration, counter string, from, to int64) (int64, error)
}

// A Config is what a [Limiter] needs; Shared may be nil: there is one replica.
type Config struct {
	Rules  []Rule
	Now    func() time.Time
	Shared Shared
}

// A Limiter applies rules. It is safe for concurrent use.
type Limiter struct {
	now    func() time.Time
	shared Shared

	mu     sync.Mutex // guards the fields below
	rules  []Rule
	states map[stateKey]*state
	swept  time.Time
	owed   []adjustment // what the other replicas do not know yet
}

type stateKey struct{ rule, subject string }

// A state is what one subject used of one rule.
type state struct {
	window  window
	running int64     // Streams
	tat     time.Time // GCRA's theoretical arrival time
	period  string    // of a calendar
	spent   int64     // in period
	touched time.Time
}

// New checks the rules.
func New(cfg Config) (*Limiter, error) {
	if cfg.Now == nil {
		return nil, errors.New("limit: a clock is required")
	}
	l := &Limiter{now: cfg.Now, shared: cfg.Shared, states: map[stateKey]*state{}}
	return l, l.SetRules(cfg.Rules)
}

// SetRules replaces all rules. What was used of those that stay is kept.
func (l *Limiter) SetRules(rules []Rule) error {
	if len(rules) > maxRules {
		return fmt.Errorf("%w: %d rules, at most %d", ErrRule, len(rules), maxRules)
	}
	seen := map[string]bool{}
	for _, r := range rules {
		if err := r.check(); err != nil {
			return err
		}
		if seen[r.name()] {
			return fmt.Errorf("%w: %s is there twice", ErrRule, r.Text())
		}
		seen[r.name()] = true
	}
	sorted := slices.Clone(rules)
	for i := range sorted {
		sorted[i].id = sorted[i].name()
	}
	slices.SortStableFunc(sorted, func(a, b Rule) int { // what is cheap to give back comes first
		return cmp.Compare(slices.Index(Units(), a.Unit), slices.Index(Units(), b.Unit))
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rules = sorted
	for k := range l.states {
		if !seen[k.rule] {
			delete(l.states, k)
		}
	}
	return nil
}

// A Caller is whose use is counted.
type Caller struct {
	Identity string
	Key      string // "": none
	Groups   []string
	Route    string
}

// An Ask is what an exchange may use at most.
type Ask struct {
	Tokens int64
	// Least is what the exchange needs of Tokens at least; the rest is given as
	// far as there is room. 0 means all of Tokens.
	Least int64
	Rows  int64
	// Price returns what so many tokens cost at most; nil: nothing.
	Price func(tokens int64) int64
}

// A ReachedError says which rule is used up.
type ReachedError struct {
	Rule  Rule
	Retry time.Duration // until there may be room; 0: not while the exchange is this large
}

// Error implements error.
func (r *ReachedError) Error() string { return "limit reached: " + r.Rule.Text() }

// A Standing is how much is left of one rule.
type Standing struct {
	Rule  Rule
	Left  int64
	Reset time.Duration // until all of it is there again, if nothing is used
}

// A Reservation is what was taken for one exchange. It must be settled or
// released, once; more does nothing.
type Reservation struct {
	Tokens   int64      // that were taken
	Standing []Standing // after taking, the scarcest of each unit first

	l *Limiter

	mu    sync.Mutex // guards the fields below
	taken []taken
	done  bool
}

// A taken is one entry of one rule.
type taken struct {
	key    stateKey
	rule   Rule
	bucket int64
	period string
	amount int64
	step   time.Duration // GCRA: what the request moved the arrival time by
	shared bool          // was counted with the other replicas
}

// statesKept bounds the memory of a Limiter, some 700 bytes each. A state that
// counts is never dropped for another.
const statesKept = 1_000_000

// subjects returns whose counts a rule concerns.
func (r Rule) subjects(c Caller) []string {
	if r.Route != "" && r.Route != c.Route {
		return nil
	}
	var of []string
	switch r.Per {
	case PerIdentity:
		of = []string{c.Identity}
	case PerGroup:
		of = c.Groups
	case PerKey:
		if c.Key != "" {
			of = []string{c.Key}
		}
	case PerRoute:
		return []string{c.Route}
	case PerAll:
		return []string{"*"}
	}
	if r.Only == "" {
		return of
	}
	if slices.Contains(of, r.Only) {
		return []string{r.Only}
	}
	return nil
}

// Reserve takes what an exchange of c may use, of every rule or of none. It
// returns a *ReachedError if a rule has no room, and an error wrapping
// ErrUnavailable if that is not known.
func (l *Limiter) Reserve(ctx context.Context, c Caller, a Ask) (*Reservation, error) {
	if a.Least <= 0 || a.Least > a.Tokens {
		a.Least = a.Tokens
	}
	now := l.now()
	l.mu.Lock()
	l.sweep(now)
	tokens := a.Tokens
	var need []taken
	var refusal *ReachedError
	for _, r := range l.rules {
		for _, who := range r.subjects(c) {
			st := l.state(stateKey{r.name(), who}, now)
			if st == nil {
				l.mu.Unlock()
				return nil, fmt.Errorf("%w: too many callers at once", ErrUnavailable)
			}
			need = append(need, taken{key: stateKey{r.name(), who}, rule: r})
			if r.Unit == Tokens {
				tokens = min(tokens, max(st.left(r, now), a.Least))
			}
		}
	}
	res := &Reservation{l: l, Tokens: tokens}
	for i := range need {
		t := &need[i]
		t.amount = a.of(t.rule.Unit, tokens)
		if refusal = l.states[t.key].take(t, now); refusal != nil {
			l.giveBack(need[:i], now)
			l.mu.Unlock()
			return nil, refusal
		}
	}
	res.taken = need
	res.Standing = l.standing(need, now)
	l.mu.Unlock()
	if l.shared != nil {
		if err := l.together(ctx, res, now); err != nil {
			res.Release()
			return nil, err
		}
	}
	return res, nil
}

// of returns how much of a unit an exchange with so many tokens takes.
func (a Ask) of(u Unit, tokens int64) int64 {
	switch u {
	case Requests, Streams:
		return 1
	case Tokens:
		return tokens
	case Rows:
		return a.Rows
	case Money:
		if a.Price != nil {
			return a.Price(tokens)
		}
	}
	return 0
}

// state returns the state of a key, or nil if there is no room for one more.
func (l *Limiter) state(k stateKey, now time.Time) *state {
	st := l.states[k]
	if st == nil {
		if len(l.states) >= statesKept {
			return nil
		}
		st = &state{}
		l.states[k] = st
	}
	st.touched = now
	return st
}

// sweepEvery is how often states that count nothing any more are dropped.
const sweepEvery = time.Minute

func (l *Limiter) sweep(now time.Time) {
	if now.Sub(l.swept).Abs() < sweepEvery {
		return
	}
	l.swept = now
	longest := map[string]time.Duration{}
	for _, r := range l.rules {
		longest[r.name()] = r.Window + r.Window/buckets
		if r.Calendar != "" {
			longest[r.name()] = 32 * 24 * time.Hour
		}
	}
	for k, st := range l.states {
		if st.running == 0 && now.Sub(st.touched) > longest[k.rule] && !now.Before(st.tat) {
			delete(l.states, k)
		}
	}
}

// period returns the calendar window that t is in.
func period(calendar string, t time.Time) string {
	if calendar == Month {
		return t.UTC().Format("2006-01")
	}
	return t.UTC().Format("2006-01-02")
}

// ends returns how long the calendar window of t goes on.
func ends(calendar string, t time.Time) time.Duration {
	u := t.UTC()
	end := time.Date(u.Year(), u.Month(), u.Day()+1, 0, 0, 0, 0, time.UTC)
	if calendar == Month {
		end = time.Date(u.Year(), u.Month()+1, 1, 0, 0, 0, 0, time.UTC)
	}
	return end.Sub(t)
}

// gcra returns the time between requests and how far ahead of the clock the
// arrival time may be.
func (r Rule) gcra() (step, ahead time.Duration) {
	step = r.Window / time.Duration(r.Amount)
	return step, step * time.Duration(r.Burst-1)
}

// left returns how much may still be taken.
func (s *state) left(r Rule, now time.Time) int64 {
	switch {
	case r.Unit == Streams:
		return r.Amount - s.running
	case r.Burst > 0:
		step, ahead := r.gcra()
		if s.tat.Before(now) {
			return r.Burst
		}
		return max(0, int64((ahead-s.tat.Sub(now))/step)+1)
	case r.Calendar != "":
		if s.period != period(r.Calendar, now) {
			return r.Amount
		}
		return r.Amount - s.spent
	default:
		s.window.at(bucketOf(now, r.Window))
		return r.Amount - s.window.total
	}
}

// take takes t.amount, or says why not.
func (s *state) take(t *taken, now time.Time) *ReachedError {
	r := t.rule
	switch {
	case r.Unit == Streams:
		if s.running >= r.Amount {
			return &ReachedError{Rule: r, Retry: time.Second}
		}
		s.running++
	case r.Burst > 0:
		step, ahead := r.gcra()
		tat := s.tat
		if tat.Before(now) {
			tat = now
		}
		if wait := tat.Sub(now) - ahead; wait > 0 {
			return &ReachedError{Rule: r, Retry: wait}
		}
		s.tat, t.step = tat.Add(step), step
	case r.Calendar != "":
		if p := period(r.Calendar, now); s.period != p {
			s.period, s.spent = p, 0
		}
		if s.spent+t.amount > r.Amount {
			return &ReachedError{Rule: r, Retry: ends(r.Calendar, now)}
		}
		s.spent += t.amount
		t.period = s.period
	default:
		t.bucket = s.window.at(bucketOf(now, r.Window))
		if s.window.total+t.amount > r.Amount {
			out := &ReachedError{Rule: r}
			if t.amount <= r.Amount {
				out.Retry = time.Duration(s.window.free(t.amount, r.Amount)) * (r.Window / buckets)
			}
			return out
		}
		s.window.add(t.bucket, t.amount)
	}
	return nil
}

// put adds n, which may be negative, to what t took.
func (s *state) put(t taken, n int64, now time.Time) {
	r := t.rule
	switch {
	case r.Unit == Streams:
		s.running += n
	case r.Burst > 0:
		if n < 0 {
			s.tat = s.tat.Add(-t.step)
		}
	case r.Calendar != "":
		if p := period(r.Calendar, now); n > 0 && s.period != p { // a debt is charged when it is known
			s.period, s.spent = p, 0
			t.period = p
		}
		if s.period == t.period {
			s.spent += n
		}
	case n > 0:
		s.window.add(s.window.at(bucketOf(now, r.Window)), n)
	default:
		s.window.at(bucketOf(now, r.Window))
		s.window.add(t.bucket, n)
	}
}

func (l *Limiter) giveBack(ts []taken, now time.Time) {
	for _, t := range ts {
		if st := l.states[t.key]; st != nil {
			st.put(t, -t.amount, now)
		}
	}
}

// standing says what is left of each rule that counts in a window.
func (l *Limiter) standing(ts []taken, now time.Time) []Standing {
	var out []Standing
	for _, t := range ts {
		st := l.states[t.key]
		s := Standing{Rule: t.rule, Left: max(0, st.left(t.rule, now)), Reset: t.rule.Window}
		switch {
		case t.rule.Unit == Streams:
			continue
		case t.rule.Burst > 0:
			s.Reset = max(0, st.tat.Sub(now))
		case t.rule.Calendar != "":
			s.Reset = ends(t.rule.Calendar, now)
		}
		out = append(out, s)
	}
	slices.SortStableFunc(out, func(a, b Standing) int {
		return cmp.Or(cmp.Compare(slices.Index(Units(), a.Rule.Unit), slices.Index(Units(), b.Rule.Unit)), cmp.Compare(a.Left, b.Left))
	})
	return out
}

// A Use is what an exchange used.
type Use struct{ Tokens, Rows, Money int64 }

// Settle replaces what was taken by what was used. What was too much goes back
// to where it was taken from; what was too little is charged at once, and the
// next reservation sees it.
func (r *Reservation) Settle(u Use) {
	r.finish(func(t taken) int64 {
		switch t.rule.Unit {
		case Tokens:
			return u.Tokens - t.amount
		case Rows:
			return u.Rows - t.amount
		case Money:
			return u.Money - t.amount
		case Streams:
			return -1
		case Requests: // it was one
		}
		return 0
	})
}

// Release gives everything back, as if the exchange had never been.
func (r *Reservation) Release() {
	r.finish(func(t taken) int64 { return -t.amount })
}

func (r *Reservation) finish(difference func(taken) int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done {
		return
	}
	r.done = true
	now := r.l.now()
	r.l.mu.Lock()
	for _, t := range r.taken {
		n := difference(t)
		if st := r.l.states[t.key]; st != nil && n != 0 {
			st.put(t, n, now)
		}
		if t.shared && n != 0 {
			r.l.owe(t, n, now)
		}
	}
	r.l.mu.Unlock()
}

// Over reports whether an exchange used more tokens than were taken for it.
func (r *Reservation) Over(u Use) bool { return u.Tokens > r.Tokens }

// An Account is what one caller used of one rule, for people to see.
type Account struct {
	Rule    Rule
	Subject string
	Used    int64 // of a burst, if the rule has one
}

// Accounts returns what callers used, most first, at most limit.
func (l *Limiter) Accounts(limit int) []Account {
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []Account
	for _, r := range l.rules {
		for k, st := range l.states {
			if k.rule == r.name() {
				out = append(out, Account{r, k.subject, cmp.Or(r.Burst, r.Amount) - st.left(r, now)})
			}
		}
	}
	slices.SortFunc(out, func(a, b Account) int {
		return cmp.Or(cmp.Compare(share(b), share(a)), cmp.Compare(a.Subject, b.Subject), cmp.Compare(a.Rule.name(), b.Rule.name()))
	})
	return out[:min(len(out), limit)]
}

func share(a Account) float64 { return float64(a.Used) / float64(max(a.Rule.Amount, 1)) }

// Bounds reports whether a rule counts what tokens a caller uses, or what they
// cost.
func (l *Limiter) Bounds(c Caller) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.rules {
		if (r.Unit == Tokens || r.Unit == Money) && len(r.subjects(c)) > 0 {
			return true
		}
	}
	return false
}

// Restore counts what c used at a time, as kept elsewhere, against budgets of
// days and months, after a restart. Windows begin anew.
func (l *Limiter) Restore(c Caller, requests int64, u Use, at time.Time) {
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.rules {
		if r.Calendar == "" || period(r.Calendar, at) != period(r.Calendar, now) {
			continue
		}
		n := map[Unit]int64{Requests: requests, Tokens: u.Tokens, Rows: u.Rows, Money: u.Money}[r.Unit]
		for _, who := range r.subjects(c) {
			if st := l.state(stateKey{r.name(), who}, now); st != nil {
				if p := period(r.Calendar, now); st.period != p {
					st.period, st.spent = p, 0
				}
				st.spent += n
			}
		}
	}
}
