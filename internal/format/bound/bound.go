// Package bound holds the limits that every reader takes and the budget that
// the readers of one target share, so that no input can spend more than its
// caller allows. Reaching a limit is an error that wraps [detect.ErrLimit]:
// what was read before stays valid and the target is not clean.
package bound

import (
	"fmt"
	"sync/atomic"

	"github.com/modelwarden/warden/detect"
)

// Limits bound what the readers may read and keep. A zero field allows
// nothing; start from [Default].
type Limits struct {
	Depth        int   // containers and streams inside one another
	Members      int   // members of one container
	TotalMembers int   // members of one target, at all depths
	Expand       int64 // bytes that decompression may produce for one target
	Ratio        int64 // expansion of one member, beyond its first RatioFrom bytes
	RatioFrom    int64 // bytes of one member that may expand at any ratio
	Hold         int64 // bytes of one decompressed member held in memory; more goes to a temporary file
	Spool        bool  // whether a temporary file may be used at all
	Text         int64 // bytes of one JSON, YAML or template part
	Header       int64 // bytes of a safetensors or GGUF header
	Nesting      int   // depth of JSON, YAML, protobuf
	String       int64 // bytes kept of one string; longer ones keep prefix and digest
	Ops          int   // pickle opcodes of one stream
	Memo         int   // pickle memo entries
	Stack        int   // live pickle stack slots
	Arena        int64 // bytes of pickle values
	Streams      int   // pickle streams inside one another
	Full         bool  // whether all weight bytes are searched for secrets, addresses and programs
}

// Default returns the limits used by the engines.
func Default() Limits {
	return Limits{
		Depth: 8, Members: 100_000, TotalMembers: 200_000,
		Expand: 4 << 30, Ratio: 1000, RatioFrom: 16 << 20, Hold: 64 << 20, Spool: true,
		Text: 64 << 20, Header: 100_000_000, Nesting: 128, String: 1 << 20,
		Ops: 20_000_000, Memo: 1_000_000, Stack: 1_000_000, Arena: 64 << 20, Streams: 8,
	}
}

// A Budget counts what the readers of one target have spent together. It is
// safe for concurrent use.
type Budget struct {
	lim      Limits
	expanded atomic.Int64
	members  atomic.Int64
}

// NewBudget returns the full budget of one target.
func NewBudget(lim Limits) *Budget { return &Budget{lim: lim} }

// Limits returns the limits that b was made with.
func (b *Budget) Limits() Limits { return b.lim }

// Expand records n more decompressed bytes.
func (b *Budget) Expand(n int64) error {
	if got := b.expanded.Add(n); got > b.lim.Expand {
		return fmt.Errorf("more than %d bytes after decompression: %w", b.lim.Expand, detect.ErrLimit)
	}
	return nil
}

// Member records one more member.
func (b *Budget) Member() error {
	if got := b.members.Add(1); got > int64(b.lim.TotalMembers) {
		return fmt.Errorf("more than %d members: %w", b.lim.TotalMembers, detect.ErrLimit)
	}
	return nil
}
