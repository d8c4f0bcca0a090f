package inventory

import "github.com/modelwarden/warden/internal/inventory/owners"

// SetOwners gives each asset the owner that a CODEOWNERS file names for its
// first evidence that has one.
func (d *Document) SetOwners(f *owners.File) {
	for i := range d.Assets {
		a := &d.Assets[i]
		for _, e := range a.Evidence {
			if a.Owner = f.Owner(e.Path); a.Owner != "" {
				break
			}
		}
	}
}
