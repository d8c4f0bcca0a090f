package audit

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// A Checkpoint is a signed statement of the size and root of a log, as a signed
// note (c2sp.org/tlog-checkpoint).
type Checkpoint struct {
	Size uint64
	Note []byte
}

// String returns the text of the signed note.
func (c Checkpoint) String() string { return string(c.Note) }

// Seal signs the present head of the log and stores the checkpoint, in the
// caller's transaction. An empty log or one already sealed at this size gives
// the checkpoint too; signing is deterministic.
func (l *Log) Seal(ctx context.Context, tx Tx) (Checkpoint, error) {
	head, err := tx.AuditHead(ctx)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("read head of audit log: %w", err)
	}
	c, err := l.sign(ctx, tx, head)
	if err != nil {
		return Checkpoint{}, err
	}
	if err := tx.PutAuditCheckpoint(ctx, c); err != nil {
		return Checkpoint{}, fmt.Errorf("store checkpoint of %d entries: %w", c.Size, err)
	}
	return c, nil
}

type hashes interface {
	AuditHashes(ctx context.Context, indexes []int64) ([]tlog.Hash, error)
}

func (l *Log) sign(ctx context.Context, r hashes, head Head) (Checkpoint, error) {
	root, err := tlog.TreeHash(int64(head.Entries), reader(ctx, r))
	if err != nil {
		return Checkpoint{}, fmt.Errorf("root of audit log of %d entries: %w", head.Entries, err)
	}
	text := fmt.Sprintf("%s\n%d\n%s\n", l.cfg.Origin, head.Entries, root)
	msg, err := note.Sign(&note.Note{Text: text}, append([]note.Signer{l.cfg.Signer}, l.cfg.Cosigners...)...)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("sign checkpoint of %d entries: %w", head.Entries, err)
	}
	return Checkpoint{head.Entries, msg}, nil
}

// reader adapts the hashes of a database to package tlog.
func reader(ctx context.Context, r hashes) tlog.HashReader {
	return tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		if len(indexes) == 0 {
			return nil, nil
		}
		return r.AuditHashes(ctx, indexes)
	})
}

// A Tree is what a checkpoint says once its signature is checked.
type Tree struct {
	Origin string
	Size   uint64
	Root   tlog.Hash
}

// OpenCheckpoint checks the signature of a checkpoint and returns what it says.
// The error wraps [ErrTampered] if the note is malformed, not signed by the
// verifier's key, or of another log.
func OpenCheckpoint(msg []byte, v note.Verifier) (Tree, error) {
	n, err := note.Open(msg, verifiers(v))
	if err != nil {
		return Tree{}, fmt.Errorf("%w: checkpoint: %w", ErrTampered, err)
	}
	// Lines after the third are extensions; we write none and refuse them, as
	// nothing here would check what they say.
	lines := strings.Split(n.Text, "\n")
	if len(lines) != 4 || lines[3] != "" {
		return Tree{}, fmt.Errorf("%w: checkpoint has %d lines, want origin, size and root", ErrTampered, len(lines)-1)
	}
	if lines[0] != v.Name() {
		return Tree{}, fmt.Errorf("%w: checkpoint is of log %q, want %q", ErrTampered, lines[0], v.Name())
	}
	size, err := strconv.ParseUint(lines[1], 10, 63)
	if err != nil || strconv.FormatUint(size, 10) != lines[1] {
		return Tree{}, fmt.Errorf("%w: checkpoint size %q", ErrTampered, lines[1])
	}
	if !mayHaveSigned(v, n.Sigs, size) {
		return Tree{}, fmt.Errorf("%w: checkpoint of %d entries is signed by a key that was retired before", ErrTampered, size)
	}
	root, err := tlog.ParseHash(lines[2])
	if err != nil || root.String() != lines[2] {
		return Tree{}, fmt.Errorf("%w: checkpoint root %q", ErrTampered, lines[2])
	}
	return Tree{lines[0], size, root}, nil
}

// NewSigner and NewVerifier read the key texts that [GenerateKey] makes.
func NewSigner(key string) (note.Signer, error) {
	s, err := note.NewSigner(strings.TrimSpace(key))
	if err != nil {
		return nil, errors.New("audit: checkpoint signing key is malformed") // never quote the key
	}
	return s, nil
}

// NewVerifier reads the public half of a checkpoint key.
func NewVerifier(key string) (note.Verifier, error) {
	v, err := note.NewVerifier(strings.TrimSpace(key))
	if err != nil {
		return nil, fmt.Errorf("audit: checkpoint key %q: %w", key, err)
	}
	return v, nil
}
