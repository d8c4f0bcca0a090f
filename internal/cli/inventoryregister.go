package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"

	"github.com/modelwarden/warden/internal/inventory"
	"github.com/modelwarden/warden/internal/inventory/owners"
	"github.com/modelwarden/warden/internal/inventory/register"
)

// codeOwners gives assets the owners that the tree's CODEOWNERS names. A tree
// without one has none.
func codeOwners(dir string, d *inventory.Document) {
	root, err := os.OpenRoot(dir) // what leads out of the tree is not followed
	if err != nil {
		return
	}
	defer root.Close() //nolint:errcheck // only read
	for _, name := range owners.Places() {
		st, err := root.Lstat(filepath.FromSlash(name))
		if err != nil || !st.Mode().IsRegular() {
			continue
		}
		f, err := root.Open(filepath.FromSlash(name))
		if err != nil {
			continue
		}
		d.SetOwners(owners.Parse(f))
		_ = f.Close()
		return
	}
}

// registerInventory sends a document to the platform's register.
func (a *app) registerInventory(ctx context.Context, w io.Writer, source, dir string, d *inventory.Document) error {
	if source == "" {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return err
		}
		source = filepath.Base(abs)
	}
	cl, err := a.client()
	if err != nil {
		return err
	}
	var out register.Registered
	if err := cl.call(ctx, http.MethodPost, "/api/v1/inventories?"+url.Values{"source": {source}}.Encode(), d, &out); err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "registered %d assets of %s: %d new, %d changed, %d gone\n", out.Source.Assets, out.Source.Name, len(out.New), out.Changed, len(out.Gone))
	return err
}
