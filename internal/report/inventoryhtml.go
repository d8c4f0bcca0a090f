package report

import "io"

// WriteHTML x.
func (n *Inventory) WriteHTML(w io.Writer) error { _, err := io.WriteString(w, ""); return err }
