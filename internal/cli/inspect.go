package cli

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/modelwarden/warden/internal/registry"
	"github.com/modelwarden/warden/internal/report"
	"github.com/modelwarden/warden/scan"
)

type inspectFlags struct {
	format  string
	opcodes bool
	member  string
	timeout time.Duration
}

func newInspect(a *app) *cobra.Command {
	f := &inspectFlags{}
	c := &cobra.Command{
		Use: "inspect FILE", Short: "Show what is inside a model file: members, tensors, operators, opcodes",
		Long: "Inspect lists the members of a file at any depth, each with its verdict, its tensors and operators,\n" +
			"what a pickle would do, and the bytes that findings are about. Nothing is executed. To decide\n" +
			"about a file use warden scan.\n\n  warden inspect model.pt\n  warden inspect --opcodes --member data.pkl model.pt",
		Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, x []string) error { return a.inspect(c.Context(), f, x[0]) },
	}
	c.Flags().StringVar(&f.format, "format", "text", "text or json")
	c.Flags().BoolVar(&f.opcodes, "opcodes", false, "list the opcodes of pickles too")
	c.Flags().StringVar(&f.member, "member", "", "show only members whose path ends so")
	c.Flags().DurationVar(&f.timeout, "timeout", time.Minute, "for the whole file")
	return c
}

func (a *app) inspect(ctx context.Context, f *inspectFlags, name string) error {
	if f.format != "text" && f.format != "json" {
		return usage("--format %q: want text or json", f.format)
	}
	file, err := os.Open(name)
	if err != nil {
		return &exit{exitIncomplete, err}
	}
	defer file.Close() //nolint:errcheck // only read
	st, err := file.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = usage("%s is no regular file: inspect looks at one file (hint: warden scan takes folders)", name)
	}
	if err != nil {
		return err
	}
	in, err := scan.Inspect(ctx, name, file, st.Size(), scan.Options{Timeout: f.timeout})
	if err != nil {
		return &exit{exitIncomplete, err}
	}
	s := registry.StructureOf(filepath.ToSlash(name), in)
	if f.member != "" {
		kept := s.Members[:0]
		for _, m := range s.Members {
			if strings.HasSuffix(m.Path, f.member) {
				kept = append(kept, m)
			}
		}
		if s.Members = kept; len(kept) == 0 {
			return usage("no member of %s ends in %q (hint: leave out --member to see them)", name, f.member)
		}
	}
	if f.format == "json" {
		enc := json.NewEncoder(a.Stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(s)
	}
	return a.printStructure(s, f.opcodes)
}

func (a *app) printStructure(s report.Structure, opcodes bool) error {
	var b strings.Builder
	for _, m := range s.Members {
		pad := strings.Repeat("  ", m.Depth)
		kind := m.Format
		if kind == "" {
			kind = "unknown format"
		}
		if len(m.Also) > 0 {
			kind += ", also " + strings.Join(m.Also, ", ")
		}
		fmt.Fprintf(&b, "%s%-12s %s  (%s, %d bytes)\n", pad, m.Verdict, m.Path, kind, m.Size)
		for _, f := range m.Findings {
			fmt.Fprintf(&b, "%s  %s %s  bytes %d-%d\n%s    %s\n", pad, f.Severity, f.Rule, f.At.Start, f.At.End, pad, f.Message)
			if f.Evidence != "" {
				fmt.Fprintf(&b, "%s    %s\n", pad, f.Evidence)
			}
			a.hexdump(&b, pad+"    ", f)
		}
		for _, st := range m.Statuses {
			fmt.Fprintf(&b, "%s  not read: %s\n", pad, st.Error)
		}
		for _, p := range m.Parts {
			fmt.Fprintf(&b, "%s  %9s  %-13s %s\n", pad, place(p.Start), p.Kind, strings.TrimSpace(p.Name+"  "+p.Detail))
		}
		if n := m.PartsTotal - len(m.Parts); n > 0 {
			fmt.Fprintf(&b, "%s  and %d more\n", pad, n)
		}
		if opcodes {
			for _, o := range m.Opcodes {
				fmt.Fprintf(&b, "%s  %9d  %-16s %s\n", pad, o.Start, o.Name, o.Arg)
			}
			if !m.OpcodesAll {
				fmt.Fprintf(&b, "%s  and more opcodes, or bytes that are none\n", pad)
			}
		}
	}
	if s.Cut {
		fmt.Fprintf(&b, "and more members than %d\n", len(s.Members))
	}
	for _, st := range s.Unread {
		fmt.Fprintf(&b, "not read: %s\n", st.Error)
	}
	_, err := io.WriteString(a.Stdout, b.String())
	return err
}

func place(at int64) string {
	if at < 0 {
		return ""
	}
	return fmt.Sprint(at)
}

// hexdump shows the bytes of a finding; those that it is about have a star.
func (a *app) hexdump(b *strings.Builder, pad string, f report.Excerpt) {
	data, err := hex.DecodeString(f.Bytes)
	if err != nil || f.Offset < 0 {
		return
	}
	const row = 16
	for at := 0; at < len(data); at += row {
		part := data[at:min(at+row, len(data))]
		fmt.Fprintf(b, "%s%8x ", pad, f.Offset+int64(at))
		for i, c := range part {
			mark := " "
			if here := f.Offset + int64(at+i); here >= f.At.Start && here < f.At.End {
				mark = "*"
			}
			fmt.Fprintf(b, "%s%02x", mark, c)
		}
		fmt.Fprintf(b, "%s  ", strings.Repeat("   ", row-len(part)))
		for _, c := range part {
			if c < ' ' || c > '~' {
				c = '.'
			}
			b.WriteByte(c)
		}
		b.WriteByte('\n')
	}
}
