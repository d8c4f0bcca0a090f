package register

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/audit"
	"github.com/modelwarden/warden/internal/inventory"
	"github.com/modelwarden/warden/internal/inventory/risk"
)

// A Config is what a Service needs; all but Platform and Person are required.
type Config struct {
	Store    Store
	Log      *audit.Log
	Now      func() time.Time
	Platform Platform                                                    // nil: there is nothing but inventories
	Person   func(ctx context.Context, principal string) (string, error) // who stands behind a principal; nil: itself
}

// A Service has the rules of the register. It is safe for concurrent use.
type Service struct {
	cfg   Config
	rules *risk.Rules

	mu       sync.Mutex // guards the fields below; held while the board is made anew
	board    *Board
	platform string
	epoch    uint64

	last atomic.Pointer[Board] // the same board, for who must not wait
}

// New checks cfg and reads the rules of risk. It starts nothing.
func New(cfg Config) (*Service, error) {
	if cfg.Store == nil || cfg.Log == nil || cfg.Now == nil {
		return nil, errors.New("register: store, log and clock are required")
	}
	if cfg.Person == nil {
		cfg.Person = func(_ context.Context, p string) (string, error) { return p, nil }
	}
	rules, err := risk.Load()
	if err != nil {
		return nil, err
	}
	return &Service{cfg: cfg, rules: rules}, nil
}

// Risk returns the rules of classes and tiers.
func (s *Service) Risk() *risk.Rules { return s.rules }

// Keeper is the principal that follows what is seen.
func Keeper() warden.Principal { return warden.Principal{ID: "service:register"} }

// boardAge is how long a board holds though nothing changed: dates pass.
const boardAge = time.Minute

func (s *Service) now() time.Time { return s.cfg.Now().UTC().Truncate(time.Millisecond) }

// Board returns what holds now. If something changed, groups of findings and
// assets are brought in line first.
func (s *Service) Board(ctx context.Context) (*Board, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	version, epoch := "", uint64(0)
	if s.cfg.Platform != nil {
		v, err := s.cfg.Platform.Version(ctx)
		if err != nil {
			return nil, err
		}
		version = v
	}
	err := s.cfg.Store.ViewRegister(ctx, func(r Reader) (err error) {
		epoch, err = r.RegisterEpoch(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	now := s.now()
	if s.board != nil && version == s.platform && epoch == s.epoch && now.Sub(s.board.At) < boardAge {
		return s.board, nil
	}
	snap := Snapshot{}
	if s.cfg.Platform != nil {
		if snap, err = s.cfg.Platform.Snapshot(ctx); err != nil {
			return nil, err
		}
	}
	if snap.Rules == nil {
		snap.Rules = map[warden.RuleID]warden.Rule{}
	}
	var board *Board
	var todo changes
	err = s.cfg.Store.ViewRegister(ctx, func(r Reader) (err error) {
		if epoch, err = r.RegisterEpoch(ctx); err != nil {
			return err
		}
		board, todo, err = s.reckon(ctx, r, &snap, now)
		return err
	})
	if err != nil {
		return nil, err
	}
	if !todo.none() {
		err = s.cfg.Store.UpdateRegister(ctx, func(tx Tx) error {
			if board, todo, err = s.reckon(ctx, tx, &snap, now); err != nil {
				return err
			}
			if err := s.keep(ctx, tx, todo); err != nil {
				return err
			}
			epoch, err = tx.RegisterEpoch(ctx)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	s.board, s.platform, s.epoch = board, version, epoch
	s.last.Store(board)
	return board, nil
}

// Known returns what was known of a model of the registry when the board was
// made last. It does not wait.
func (s *Service) Known(model string) (View, bool) {
	b := s.last.Load()
	if b == nil {
		return View{}, false
	}
	return b.View(own(model))
}

// changes are rows to write.
type changes struct {
	assets []Asset
	groups []Group
	told   map[string][]string // what happened to groups, for the log
}

func (c changes) none() bool { return len(c.assets)+len(c.groups) == 0 }

// reckon works out what holds, and which rows that changes. It writes nothing.
func (s *Service) reckon(ctx context.Context, r Reader, snap *Snapshot, now time.Time) (*Board, changes, error) {
	as, err := r.Assets(ctx)
	if err != nil {
		return nil, changes{}, err
	}
	sources, err := r.Sources(ctx)
	if err != nil {
		return nil, changes{}, err
	}
	gs, err := r.FindingGroups(ctx)
	if err != nil {
		return nil, changes{}, err
	}
	rules, err := r.OwnerRules(ctx)
	if err != nil {
		return nil, changes{}, err
	}
	assets, groups := map[string]*Asset{}, map[string]*Group{}
	for i := range as {
		assets[as[i].ID] = &as[i]
	}
	states := map[string]State{}
	for i := range gs {
		groups[gs[i].ID], states[gs[i].ID] = &gs[i], gs[i].State
	}
	out := changes{told: map[string][]string{}}
	if s.cfg.Platform != nil {
		models, routes := standing(snap)
		ids := append(meet(assets, FromRegistry, now, models), meet(assets, FromGateway, now, routes)...)
		slices.Sort(ids)
		for _, id := range slices.Compact(ids) {
			out.assets = append(out.assets, *assets[id])
		}
	}
	b := assemble(assets, snap, rules, s.rules, now)
	b.Sources = sources
	for _, id := range live(groups, b.occurrences(snap, sources), now) {
		g := groups[id]
		out.groups = append(out.groups, *g)
		if was := states[id]; was != g.State {
			out.told[string(g.State)] = append(out.told[string(g.State)], id)
		}
	}
	b.join(groups)
	return b, out, nil
}

// keep writes changes, and one event if groups changed their state.
func (s *Service) keep(ctx context.Context, tx Tx, c changes) error {
	for _, a := range c.assets {
		if err := tx.PutAsset(ctx, a); err != nil {
			return err
		}
	}
	for _, g := range c.groups {
		if err := tx.PutFindingGroup(ctx, g); err != nil {
			return err
		}
	}
	if len(c.told) == 0 {
		return nil
	}
	const most = 200
	payload := map[string]any{}
	for _, state := range slices.Sorted(maps.Keys(c.told)) {
		ids := c.told[state]
		payload[state], payload[state+"_count"] = ids[:min(len(ids), most)], len(ids)
	}
	return s.log(ctx, tx, Keeper(), "findings.seen", warden.Ref{Kind: "register", ID: "findings"}, payload)
}

func (s *Service) log(ctx context.Context, tx Tx, by warden.Principal, action string, on warden.Ref, payload any) error {
	_, err := s.cfg.Log.Append(ctx, tx, warden.Event{Actor: by, Action: action, Object: on}, payload)
	return err
}

func ref(id string) warden.Ref { return warden.Ref{Kind: warden.KindAsset, ID: id} }

func invalid(hint, format string, args ...any) error {
	return &warden.Error{Code: warden.CodeInvalid, Message: fmt.Sprintf(format, args...), Hint: hint}
}

var sourceName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/@:-]{0,119}$`)

// A Registered says what a document brought.
type Registered struct {
	Source  Source   `json:"source"`
	New     []string `json:"new"`  // assets that nothing had seen before
	Gone    []string `json:"gone"` // that this source does not see any more
	Changed int      `json:"changed"`
	Same    bool     `json:"same"` // the source had this document already
}

// Register keeps an inventory under the name of its source, in the place of the
// one before.
func (s *Service) Register(ctx context.Context, source string, d *inventory.Document, demo bool, by warden.Principal) (out Registered, err error) {
	if !sourceName.MatchString(source) || source == FromRegistry || source == FromGateway {
		return out, invalid("use letters, digits and . _ - / @ : for example team/shop", "%.60q cannot name a source", source)
	}
	list, findings, err := observe(source, d)
	if err != nil {
		return out, err
	}
	text, err := warden.Canonical(d)
	if err != nil {
		return out, err
	}
	now := s.now()
	for i := range list {
		list[i].demo = demo
	}
	err = s.cfg.Store.UpdateRegister(ctx, func(tx Tx) error {
		out = Registered{New: []string{}, Gone: []string{}, Source: Source{
			Name: source, Digest: warden.Sum(text).String(), Root: clip(d.Root), Complete: d.Complete, Assets: len(list), First: now, At: now, By: by.ID, Demo: demo, Findings: findings,
		}}
		as, err := tx.Assets(ctx)
		if err != nil {
			return err
		}
		all, err := tx.Sources(ctx)
		if err != nil {
			return err
		}
		for _, x := range all {
			if x.Name == source {
				out.Source.First, out.Same = x.First, x.Digest == out.Source.Digest
				if x.Demo != demo {
					return &warden.Error{Code: warden.CodeConflict, Message: "there is a source " + source + " of the demo, or a real one of that name", Hint: "choose another name"}
				}
			}
		}
		assets, gone := map[string]*Asset{}, map[string]bool{}
		for i := range as {
			assets[as[i].ID] = &as[i]
			gone[as[i].ID] = as[i].Gone()
		}
		ids := meet(assets, source, now, list)
		for _, id := range ids {
			a := assets[id]
			was, known := gone[id]
			switch {
			case !known:
				out.New = append(out.New, id)
			case a.Gone() && !was:
				out.Gone = append(out.Gone, id)
			default:
				out.Changed++
			}
			if err := tx.PutAsset(ctx, *a); err != nil {
				return err
			}
		}
		if err := tx.PutSource(ctx, out.Source); err != nil {
			return err
		}
		return s.log(ctx, tx, by, "inventory.register", warden.Ref{Kind: "inventory", ID: source}, map[string]any{
			"digest": out.Source.Digest, "assets": len(list), "findings": len(findings), "complete": d.Complete, "new": len(out.New), "gone": len(out.Gone),
		})
	})
	return out, err
}

// Set changes what people say of an asset. version is the one that was changed;
// another one is a conflict. 0 asks for none.
func (s *Service) Set(ctx context.Context, id string, version int, change func(*Person) error, by warden.Principal) error {
	if _, err := s.Board(ctx); err != nil { // the model may have been pushed a moment ago
		return err
	}
	return s.change(ctx, id, version, "asset.set", by, func(a *Asset) (any, error) {
		before := a.Person
		if err := change(&a.Person); err != nil {
			return nil, err
		}
		if err := s.check(&a.Person); err != nil {
			return nil, err
		}
		if same(before, a.Person) {
			return nil, nil //nolint:nilnil // nothing changed
		}
		return map[string]any{"before": before, "after": a.Person}, nil
	})
}

func (s *Service) check(p *Person) error {
	if err := s.rules.Check(p.System); err != nil {
		return err
	}
	if p.Criticality < 0 || p.Criticality > 4 {
		return invalid("1 is least, 4 most; 0 takes it back", "criticality %d", p.Criticality)
	}
	if known := s.rules.Data().Axes["stage"]; p.Stage != "" && !slices.Contains(known, p.Stage) {
		return invalid(fmt.Sprintf("one of %v", known), "stage %.40q", p.Stage)
	}
	for _, x := range []string{p.Owner, p.Contact, p.Approver, p.Use} {
		if len(x) > maxText || strings.ContainsFunc(x, func(r rune) bool { return r < ' ' }) {
			return invalid(fmt.Sprintf("one line of at most %d bytes", maxText), "%.40q is too long or has control characters", x)
		}
	}
	slices.Sort(p.System.Data)
	p.System.Data = slices.Compact(p.System.Data)
	return nil
}

// change runs fn on one asset; what fn returns is the payload of the event. nil
// means that nothing changed.
func (s *Service) change(ctx context.Context, id string, version int, action string, by warden.Principal, fn func(*Asset) (any, error)) error {
	return s.cfg.Store.UpdateRegister(ctx, func(tx Tx) error {
		a, err := tx.Asset(ctx, id)
		if errors.Is(err, ErrNotFound) {
			return &warden.Error{Code: warden.CodeNotFound, Message: fmt.Sprintf("no asset %.100q", id), Hint: "list them with: warden asset list", Err: err}
		}
		if err != nil {
			return err
		}
		if version != 0 && version != a.Version {
			return &warden.Error{Code: warden.CodeConflict, Message: fmt.Sprintf("somebody else changed the asset: it has version %d", a.Version), Hint: "read it again, and make your change to that"}
		}
		payload, err := fn(&a)
		if err != nil || payload == nil {
			return err
		}
		a.Version, a.Changed, a.By = a.Version+1, s.now(), by.ID
		if err := tx.PutAsset(ctx, a); err != nil {
			return err
		}
		return s.log(ctx, tx, by, action, ref(id), payload)
	})
}

// SetOwners adds a rule, or changes the owner of one; an owner of "" takes it away.
func (s *Service) SetOwners(ctx context.Context, match, owner string, by warden.Principal) ([]OwnerRule, error) {
	match, owner = strings.TrimSpace(match), strings.TrimSpace(owner)
	if match == "" || len(match) > maxText || len(owner) > maxText {
		return nil, invalid("for example --match 'model:registry:team/*' --owner group:ml", "%.60q cannot select assets", match)
	}
	var out []OwnerRule
	err := s.cfg.Store.UpdateRegister(ctx, func(tx Tx) (err error) {
		if out, err = tx.OwnerRules(ctx); err != nil {
			return err
		}
		out = slices.DeleteFunc(out, func(r OwnerRule) bool { return r.Match == match })
		if owner != "" {
			out = append(out, OwnerRule{match, owner, by.ID, s.now()})
		}
		if len(out) > 1000 {
			return invalid("take some away: --owner ''", "more than 1,000 rules")
		}
		if err := tx.PutOwnerRules(ctx, out); err != nil {
			return err
		}
		return s.log(ctx, tx, by, "asset.owners", warden.Ref{Kind: "register", ID: "owners"}, map[string]any{"match": match, "owner": owner})
	})
	return out, err
}

// longest time of a tier that is milder than the rules say.
const longest = 90 * 24 * time.Hour

// Retier asks for another tier. A graver one holds at once; a milder one when
// other people approved it, two where the rules say 0 or 1, until a day. 0 is
// never made milder. A tier of -1 takes the request back.
func (s *Service) Retier(ctx context.Context, id string, tier int, reason string, until time.Time, by warden.Principal) error {
	b, err := s.Board(ctx)
	if err != nil {
		return err
	}
	v, _ := b.View(id)
	return s.change(ctx, id, 0, "risk.retier", by, func(a *Asset) (any, error) {
		if tier == -1 {
			a.Override = nil
			return map[string]any{"tier": "of the rules", "reason": reason}, nil
		}
		if tier < 0 || tier > 4 {
			return nil, invalid("0 prohibited, 1 critical, 2 high, 3 moderate, 4 low", "tier %d", tier)
		}
		if strings.TrimSpace(reason) == "" || len(reason) > maxText {
			return nil, invalid("say in a sentence why; it is kept", "a reason of %d bytes", len(reason))
		}
		o := &Override{Tier: tier, Lowers: tier > v.Risk.Tier, Was: v.Risk.Tier, Reason: reason, By: by.ID, At: s.now(), Until: until}
		switch {
		case o.Lowers && v.Risk.Tier == 0:
			return nil, &warden.Error{Code: warden.CodeDenied, Message: "a prohibited use has no milder tier", Hint: "if its description is wrong, correct it: warden asset set"}
		case o.Lowers && (until.Before(o.At) || until.After(o.At.Add(longest))):
			return nil, invalid("give --until, at most 90 days ahead", "a milder tier must end")
		}
		a.Override = o
		return o, nil
	})
}

// ApproveTier approves a milder tier that somebody else asked for.
func (s *Service) ApproveTier(ctx context.Context, id, reason string, by warden.Principal) error {
	who, err := s.cfg.Person(ctx, by.ID)
	if err != nil {
		return err
	}
	return s.change(ctx, id, 0, "risk.approve", by, func(a *Asset) (any, error) {
		o := a.Override
		if o == nil || !o.Lowers {
			return nil, &warden.Error{Code: warden.CodeConflict, Message: "nobody asked for a milder tier", Hint: "warden risk set ID --tier N --reason TEXT --until DAY"}
		}
		asked, err := s.cfg.Person(ctx, o.By)
		if err != nil {
			return nil, err
		}
		if asked == who || slices.ContainsFunc(o.Votes, func(v Vote) bool { return v.Person == who }) {
			return nil, &warden.Error{Code: warden.CodeDenied, Message: "whoever asked, or has approved already, cannot approve", Hint: "ask another person"}
		}
		o.Votes = append(o.Votes, Vote{by.ID, who, s.now(), clip(reason)})
		return map[string]any{"tier": o.Tier, "votes": len(o.Votes), "needs": o.Needs(), "reason": reason}, nil
	})
}

// DeleteDemo removes what only the demo has.
func (s *Service) DeleteDemo(ctx context.Context, by warden.Principal) (n int, err error) {
	err = s.cfg.Store.UpdateRegister(ctx, func(tx Tx) error {
		if err := forget(ctx, tx); err != nil {
			return err
		}
		if n, err = tx.DeleteRegisterDemo(ctx); err != nil || n == 0 {
			return err
		}
		return s.log(ctx, tx, by, "register.demo.remove", warden.Ref{Kind: "register", ID: "demo"}, map[string]any{"assets": n})
	})
	return n, err
}

// forget takes the sources of the demo out of assets that others see, too.
func forget(ctx context.Context, tx Tx) error {
	sources, err := tx.Sources(ctx)
	if err != nil {
		return err
	}
	assets, err := tx.Assets(ctx)
	if err != nil {
		return err
	}
	demo := func(x Sighting) bool {
		return slices.ContainsFunc(sources, func(s Source) bool { return s.Demo && s.Name == x.Source })
	}
	for _, a := range assets {
		if a.Demo || !slices.ContainsFunc(a.Sightings, demo) {
			continue
		}
		a.Sightings = slices.DeleteFunc(a.Sightings, demo)
		if err := tx.PutAsset(ctx, a); err != nil {
			return err
		}
	}
	return nil
}

// worstFirst sorts views.
func worstFirst(a, b View) int {
	return cmp.Or(cmp.Compare(b.Priority, a.Priority), cmp.Compare(a.Tier, b.Tier), cmp.Compare(a.ID, b.ID))
}
