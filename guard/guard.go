package guard

import (
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/chat"
	"github.com/modelwarden/warden/internal/check/prompt"
)

// ErrConfig is wrapped by every error of [New] that is about its configuration.
var ErrConfig = errors.New("configuration of a guard")

// ErrSelfTest is wrapped by the errors of [Guard.SelfTest]: a guard that fails it
// must not be used.
var ErrSelfTest = errors.New("self-test of a guard")

// What an operator declares about the exchanges of a route.
type (
	// Limits bound what is read of one request; zero fields are defaults.
	Limits = prompt.Limits
	// A Tool is a function that the model may call.
	Tool = prompt.Tool
	// A ToolEffect is what a tool does: read, write, send, pay, execute.
	ToolEffect = prompt.ToolEffect
	// A Flow says what may not go from one tool to another.
	Flow = prompt.Flow
	// A TensorSpec declares an input of a classifier.
	TensorSpec = prompt.TensorSpec
	// A PartKind is a kind of content: "image", "audio", "file".
	PartKind = chat.PartKind
)

// MaxAllowance is how long an exception may last.
const MaxAllowance = 180 * 24 * time.Hour

// An Exception is an allowance that somebody answers for, until a day. One of a
// guarantee, the rules 1xx, 6xx and 7xx, needs a second person.
type Exception struct {
	Allowance
	Owner, Approver, Reason string
	Until                   time.Time
}

// A Config says what a guard does. The zero Config looks for everything, does
// what each rule says, and lets no image through unseen.
type Config struct {
	// Answers is how answers are examined. Its Rules, Families, Shadow, Allow and
	// Decide are those below where they are not set there.
	Answers StreamConfig

	Rules    map[warden.RuleID]warden.Effect // another effect than the rule's own
	Families map[string]warden.Effect        // the same for ids that begin so; the longest counts
	Shadow   map[warden.RuleID]bool          // recorded, and nothing is done
	Allow    []Exception

	// External says that others run the model: personal data and secrets in a
	// request are replaced by placeholders, which come back in the answer.
	External bool

	Unseen  []PartKind // that may pass without being looked at
	Limits  Limits
	Tools   []Tool
	Flows   []Flow
	Tensors []TensorSpec

	// Decide answers for the policy, as in [StreamConfig].
	Decide func(f warden.Finding, effect warden.Effect) warden.Effect

	Budget time.Duration    // for one request; 0: 300 ms, below 0: none
	Now    func() time.Time // nil: the clock
	Nonce  func() string    // of placeholders; nil: random
}

const defaultBudget = 300 * time.Millisecond

// A Guard examines exchanges. It is not changed after [New] and safe for
// concurrent use.
type Guard struct{ cfg Config }

// New checks a configuration and returns its guard. Call [Guard.SelfTest] before
// use.
func New(cfg Config) (*Guard, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Nonce == nil {
		cfg.Nonce = nonce
	}
	if cfg.Budget == 0 {
		cfg.Budget = defaultBudget
	}
	for rule, e := range cfg.Rules {
		if !known(e) {
			return nil, fmt.Errorf("%w: rule %s: effect %q is none of allow, review, redact, deny", ErrConfig, rule, e)
		}
	}
	for family, e := range cfg.Families {
		if !known(e) {
			return nil, fmt.Errorf("%w: family %s: effect %q is none of allow, review, redact, deny", ErrConfig, family, e)
		}
	}
	for i, a := range cfg.Allow {
		if err := a.check(cfg.Now()); err != nil {
			return nil, fmt.Errorf("%w: exception %d (%s): %w", ErrConfig, i+1, a.Rule, err)
		}
	}
	if err := prompt.CheckDeclared(cfg.Tools, cfg.Flows, cfg.Tensors); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	g := &Guard{cfg: cfg}
	if _, err := prompt.NewOutput(prompt.OutputConfig{}, nil); err != nil {
		return nil, err
	}
	if err := prompt.Loaded(); err != nil {
		return nil, err
	}
	return g, nil
}

// Deciding returns a guard that does the same, but for what decide makes of it:
// the policy's answer for one caller.
func (g *Guard) Deciding(decide func(f warden.Finding, effect warden.Effect) warden.Effect) *Guard {
	other := *g
	other.cfg.Decide, other.cfg.Answers.Decide = decide, nil
	return &other
}

// Marked returns a guard that does the same and looks for a word which stands in
// nothing but the operator's text of one exchange.
func (g *Guard) Marked(canary string) *Guard {
	other := *g
	other.cfg.Answers.Canary = canary
	return &other
}

func known(e warden.Effect) bool {
	return slices.Contains([]warden.Effect{warden.Allow, warden.AllowReview, warden.Redact, warden.Deny}, e)
}

func (a Exception) check(now time.Time) error {
	switch {
	case a.Rule == "":
		return errors.New("the rule is missing")
	case a.Literal == "" && a.Prefix == "" && a.Digest == (warden.Digest{}):
		return errors.New("what it allows is missing: a digest, a literal or a prefix")
	case a.Owner == "" || a.Reason == "":
		return errors.New("owner and reason are required")
	case a.Until.IsZero() || a.Until.After(now.Add(MaxAllowance)):
		return fmt.Errorf("it must end within %d days", int(MaxAllowance.Hours()/24))
	case (a.Approver == "" || a.Approver == a.Owner) && slices.ContainsFunc([]string{"WDN-EX-1", "WDN-EX-6", "WDN-EX-7"}, func(p string) bool { return strings.HasPrefix(string(a.Rule), p) }):
		return errors.New("a guarantee needs a second person as approver")
	}
	return nil
}

// allowances returns the exceptions that have not ended.
func (g *Guard) allowances() []Allowance {
	var out []Allowance
	for _, a := range g.cfg.Allow {
		if g.cfg.Now().Before(a.Until) {
			out = append(out, a.Allowance)
		}
	}
	return out
}

// nonce returns five letters and digits: enough that a sender cannot guess the
// placeholders of a request.
func nonce() string {
	var b [5]byte
	_, _ = rand.Read(b[:]) // it never fails (crypto/rand)
	return strings.ToLower(base32.StdEncoding.EncodeToString(b[:]))
}

// answers returns how answers are examined.
func (g *Guard) answers() StreamConfig {
	c := g.cfg.Answers
	if c.Rules == nil {
		c.Rules = g.cfg.Rules
	}
	if c.Families == nil {
		c.Families = g.cfg.Families
	}
	if c.Shadow == nil {
		c.Shadow = g.cfg.Shadow
	}
	if c.Decide == nil {
		c.Decide = g.cfg.Decide
	}
	c.Allow = append(slices.Clone(c.Allow), g.allowances()...)
	return c
}

// Stream prepares to examine the answer to x, of which res is the result. What
// res put placeholders for comes back.
func (g *Guard) Stream(x *Exchange, res Result) (*Stream, error) {
	c := g.answers()
	if len(res.Restore) > 0 {
		restore := maps.Clone(c.Restore)
		if restore == nil {
			restore = map[string]string{}
		}
		maps.Copy(restore, res.Restore)
		c.Restore = restore
	}
	return NewStream(c, x)
}
