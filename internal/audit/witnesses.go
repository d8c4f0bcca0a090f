package audit

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/modelwarden/warden"
)

// Witnesses keeps the witnesses of one log and sends them its checkpoints.
type Witnesses struct {
	cfg WitnessConfig
}

// A WitnessConfig is what [Witnesses] need; all but Client are required.
type WitnessConfig struct {
	Store    WitnessStore
	Log      *Log
	Verifier note.Verifier // of the log's checkpoints
	Now      func() time.Time
	Client   *http.Client // nil: one that follows no redirects and waits 10 seconds
	Required int          // witnesses that must sign what is older than WitnessGrace
}

// NewWitnesses checks cfg. It starts nothing.
func NewWitnesses(cfg WitnessConfig) (*Witnesses, error) {
	if cfg.Store == nil || cfg.Log == nil || cfg.Verifier == nil || cfg.Now == nil {
		return nil, errors.New("audit: store, log, verifier and clock of witnesses are required")
	}
	if cfg.Client == nil {
		cfg.Client = &http.Client{
			Timeout:       10 * time.Second,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	return &Witnesses{cfg}, nil
}

// A WitnessState is a witness with its newest cosignature, as far as it holds.
type WitnessState struct {
	Witness
	Size uint64    // entries that it has signed; 0: none
	At   time.Time // when
	Note []byte    // what it signed
}

// List returns all witnesses. A stored cosignature that does not verify counts
// as none.
func (w *Witnesses) List(ctx context.Context) ([]WitnessState, error) {
	ws, cs, err := w.cfg.Store.Witnesses(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]WitnessState, len(ws))
	for i, x := range ws {
		out[i].Witness = x
		key, err := NewCosigner(x.Key)
		if err != nil {
			continue
		}
		if t, at, err := OpenCosigned(cs[i].Note, w.cfg.Verifier, key); err == nil {
			out[i].Size, out[i].At, out[i].Note = t.Size, at, cs[i].Note
		}
	}
	return out, nil
}

// Cosigned returns the checkpoints that witnesses signed, for [Verify].
func (w *Witnesses) Cosigned(ctx context.Context) ([]Checkpoint, int, error) {
	all, err := w.List(ctx)
	var out []Checkpoint
	for _, x := range all {
		if x.Size > 0 {
			out = append(out, Checkpoint{x.Size, x.Note})
		}
	}
	return out, len(all), err
}

// Add keeps a witness, and says so in the log.
func (w *Witnesses) Add(ctx context.Context, address, key string, actor warden.Principal) (Witness, error) {
	x, err := ParseWitness(address, key, w.cfg.Now().UTC())
	if err != nil {
		return x, err
	}
	return x, w.cfg.Store.UpdateWitnesses(ctx, func(tx WitnessTx) error {
		if err := tx.PutWitness(ctx, x); err != nil {
			return err
		}
		return w.event(ctx, tx, "audit.witness.add", actor, map[string]any{"witness": x.Name, "url": x.URL, "key": x.Key})
	})
}

// Remove forgets a witness and what it signed, and says so in the log.
func (w *Witnesses) Remove(ctx context.Context, name string, actor warden.Principal) error {
	err := w.cfg.Store.UpdateWitnesses(ctx, func(tx WitnessTx) error {
		if err := tx.DeleteWitness(ctx, name); err != nil {
			return err
		}
		return w.event(ctx, tx, "audit.witness.remove", actor, map[string]any{"witness": name})
	})
	if errors.Is(err, ErrMissing) {
		return &warden.Error{Code: warden.CodeNotFound, Message: fmt.Sprintf("no witness %.100q", name), Hint: "list them with: warden audit witness list", Err: err}
	}
	return err
}

func (w *Witnesses) event(ctx context.Context, tx Tx, action string, actor warden.Principal, details map[string]any) error {
	_, err := w.cfg.Log.Append(ctx, tx, warden.Event{Actor: actor, Action: action, Object: warden.Ref{Kind: warden.KindPrincipal, ID: actor.ID}}, details)
	return err
}

// Push sends the newest checkpoint to every witness that has not signed it, and
// keeps what they answer. The error joins those of witnesses that did not sign.
func (w *Witnesses) Push(ctx context.Context) (signed int, err error) {
	all, err := w.List(ctx)
	if err != nil {
		return 0, err
	}
	var errs []error
	for _, x := range all {
		switch ok, err := w.push(ctx, x); {
		case err != nil:
			errs = append(errs, err)
		case ok:
			signed++
		}
	}
	return signed, errors.Join(errs...)
}

func (w *Witnesses) push(ctx context.Context, x WitnessState) (bool, error) {
	old := x.Size
	for range 2 { // again if it has seen another size than we know of
		c, proof, err := w.proof(ctx, old)
		if err != nil || c.Size == x.Size {
			return false, err
		}
		got, seen, err := Push(ctx, w.cfg.Client, x.Witness, old, proof, c, w.cfg.Verifier)
		if errors.Is(err, ErrBehind) && seen <= c.Size && seen != old {
			old = seen
			continue
		}
		if err != nil {
			return false, err
		}
		err = w.cfg.Store.UpdateWitnesses(ctx, func(tx WitnessTx) error { return tx.PutCosignature(ctx, got) })
		return err == nil, err
	}
	return false, fmt.Errorf("witness %s: it says another size each time", x.Name)
}

// proof returns the newest checkpoint and the proof that it continues old entries.
func (w *Witnesses) proof(ctx context.Context, old uint64) (c Checkpoint, proof []tlog.Hash, err error) {
	err = w.cfg.Store.ViewAudit(ctx, func(r Reader) error {
		var ok bool
		if c, ok, err = Latest(ctx, r); err != nil {
			return err
		}
		if !ok || c.Size < old {
			return fmt.Errorf("%w: the witness has seen %d entries, the newest checkpoint covers %d: the log was rolled back", ErrTampered, old, c.Size)
		}
		if old == 0 || old == c.Size {
			return nil
		}
		proof, err = ProveGrowth(ctx, r, old, c.Size)
		return err
	})
	return c, proof, err
}
