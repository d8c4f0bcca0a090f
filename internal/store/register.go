package store

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/modelwarden/warden/internal/inventory/register"
	"github.com/modelwarden/warden/internal/registry"
)

// ViewRegister implements [register.Store].
func (s *Store) ViewRegister(ctx context.Context, fn func(register.Reader) error) error {
	return s.view(ctx, func(v *view) error { return fn(registerView{v}) })
}

// UpdateRegister implements [register.Store].
func (s *Store) UpdateRegister(ctx context.Context, fn func(register.Tx) error) error {
	return s.update(ctx, func(t *tx) error { return fn(registerTx{registerView{&t.view}, t}) })
}

// A registerView reads the register; its methods have names that others have.
type registerView struct{ v *view }

type registerTx struct {
	registerView
	*tx
}

// jsonOf reads a column that holds JSON.
func jsonOf[T any](r row) (out T, err error) {
	text, err := scalar[string](r)
	if err == nil {
		err = json.Unmarshal([]byte(text), &out)
	}
	return out, err
}

func absent(err error) error {
	if errors.Is(err, registry.ErrNotFound) {
		return register.ErrNotFound
	}
	return err
}

// RegisterEpoch implements [register.Reader].
func (x registerView) RegisterEpoch(ctx context.Context) (uint64, error) {
	return one(ctx, x.v.conn, scalar[uint64], `SELECT value FROM counter WHERE name = 'register'`)
}

// Assets implements [register.Reader].
func (x registerView) Assets(ctx context.Context) ([]register.Asset, error) {
	return list(ctx, x.v.conn, jsonOf[register.Asset], `SELECT body FROM register_asset ORDER BY id`)
}

// Asset implements [register.Reader].
func (x registerView) Asset(ctx context.Context, id string) (register.Asset, error) {
	a, err := one(ctx, x.v.conn, jsonOf[register.Asset], `SELECT body FROM register_asset WHERE id = $1`, id)
	return a, absent(err)
}

// Sources implements [register.Reader].
func (x registerView) Sources(ctx context.Context) ([]register.Source, error) {
	return list(ctx, x.v.conn, func(r row) (s register.Source, err error) {
		var body, findings string
		if err := r(&body, &findings); err != nil {
			return s, err
		}
		err = errors.Join(json.Unmarshal([]byte(body), &s), json.Unmarshal([]byte(findings), &s.Findings))
		return s, err
	}, `SELECT body, findings FROM register_source ORDER BY name`)
}

// FindingGroups implements [register.Reader].
func (x registerView) FindingGroups(ctx context.Context) ([]register.Group, error) {
	return list(ctx, x.v.conn, jsonOf[register.Group], `SELECT body FROM register_group ORDER BY id`)
}

// FindingGroup implements [register.Reader].
func (x registerView) FindingGroup(ctx context.Context, id string) (register.Group, error) {
	g, err := one(ctx, x.v.conn, jsonOf[register.Group], `SELECT body FROM register_group WHERE id = $1`, id)
	return g, absent(err)
}

// OwnerRules implements [register.Reader].
func (x registerView) OwnerRules(ctx context.Context) ([]register.OwnerRule, error) {
	rs, err := one(ctx, x.v.conn, jsonOf[[]register.OwnerRule], `SELECT body FROM register_owners WHERE id = 1`)
	if errors.Is(err, registry.ErrNotFound) {
		err = nil
	}
	return rs, err
}

// put writes a row and counts the change.
func (x registerTx) put(ctx context.Context, text string, v any, args ...any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if _, err := x.exec(ctx, `UPDATE counter SET value = value + 1 WHERE name = 'register'`); err != nil {
		return err
	}
	_, err = x.exec(ctx, text, append([]any{string(body)}, args...)...)
	return err
}

// PutAsset implements [register.Tx].
func (x registerTx) PutAsset(ctx context.Context, a register.Asset) error {
	return x.put(ctx, `INSERT INTO register_asset (body, id, demo) VALUES ($1, $2, $3) ON CONFLICT (id) DO UPDATE SET body = excluded.body, demo = excluded.demo`, a, a.ID, flag(a.Demo))
}

// PutSource implements [register.Tx].
func (x registerTx) PutSource(ctx context.Context, s register.Source) error {
	findings, err := json.Marshal(s.Findings)
	if err != nil {
		return err
	}
	return x.put(ctx, `INSERT INTO register_source (body, name, demo, findings) VALUES ($1, $2, $3, $4)
		ON CONFLICT (name) DO UPDATE SET body = excluded.body, demo = excluded.demo, findings = excluded.findings`, s, s.Name, flag(s.Demo), string(findings))
}

// PutFindingGroup implements [register.Tx].
func (x registerTx) PutFindingGroup(ctx context.Context, g register.Group) error {
	return x.put(ctx, `INSERT INTO register_group (body, id, demo) VALUES ($1, $2, $3) ON CONFLICT (id) DO UPDATE SET body = excluded.body, demo = excluded.demo`, g, g.ID, flag(g.Demo))
}

// PutOwnerRules implements [register.Tx].
func (x registerTx) PutOwnerRules(ctx context.Context, rs []register.OwnerRule) error {
	return x.put(ctx, `INSERT INTO register_owners (body, id) VALUES ($1, 1) ON CONFLICT (id) DO UPDATE SET body = excluded.body`, rs)
}

// DeleteRegisterDemo implements [register.Tx].
func (x registerTx) DeleteRegisterDemo(ctx context.Context) (int, error) {
	n, err := x.exec(ctx, `DELETE FROM register_asset WHERE demo = 1`)
	if err != nil {
		return 0, err
	}
	for _, text := range []string{`DELETE FROM register_source WHERE demo = 1`, `DELETE FROM register_group WHERE demo = 1`, `UPDATE counter SET value = value + 1 WHERE name = 'register'`} {
		if _, err := x.exec(ctx, text); err != nil {
			return 0, err
		}
	}
	return int(n), nil
}
