package audit

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/modelwarden/warden"
)

// A Witness is a server of somebody else that signs checkpoints which continue
// the last one it saw (c2sp.org/tlog-witness). What it has signed can neither be
// rewritten nor rolled back without being found.
type Witness struct {
	Name  string // of its key
	URL   string // below which add-checkpoint is
	Key   string // public key, as package note writes keys: name+hash+base64
	Added time.Time
}

// A Cosignature is the newest signature of one witness.
type Cosignature struct {
	Witness string
	Size    uint64 // entries of the checkpoint
	At      time.Time
	Note    []byte // the checkpoint with the witness's signature below ours
}

// A WitnessTx is a write transaction that keeps witnesses too.
type WitnessTx interface {
	Tx
	PutWitness(ctx context.Context, w Witness) error
	// DeleteWitness returns an error wrapping ErrMissing if there is none.
	DeleteWitness(ctx context.Context, name string) error
	PutCosignature(ctx context.Context, c Cosignature) error
}

// A WitnessStore keeps witnesses and what they signed.
type WitnessStore interface {
	ViewAudit(ctx context.Context, fn func(Reader) error) error
	UpdateWitnesses(ctx context.Context, fn func(WitnessTx) error) error
	// Witnesses lists witnesses by name, each with its newest cosignature: zero
	// if there is none.
	Witnesses(ctx context.Context) ([]Witness, []Cosignature, error)
}

// The algorithm of cosignatures in keys (c2sp.org/signed-note).
const algCosignature = 4

// ErrBehind is wrapped if a witness has seen another size than we think.
var ErrBehind = errors.New("the witness has seen another size of the log")

// cosigner verifies cosignatures (c2sp.org/tlog-cosignature). It implements
// [note.Verifier].
type cosigner struct {
	name string
	hash uint32
	key  ed25519.PublicKey
}

// NewCosigner reads the public key of a witness.
func NewCosigner(text string) (note.Verifier, error) {
	bad := func(why string) (note.Verifier, error) {
		return nil, &warden.Error{
			Code: warden.CodeInvalid, Message: fmt.Sprintf("key of witness %.100q: %s", text, why),
			Hint: "give the public key as the witness publishes it: name+hash+base64",
		}
	}
	name, rest, _ := strings.Cut(strings.TrimSpace(text), "+")
	hexHash, data, ok := strings.Cut(rest, "+")
	if !ok || name == "" || strings.ContainsAny(name, " \t\n") {
		return bad("is not name+hash+base64")
	}
	hash, err := strconv.ParseUint(hexHash, 16, 32)
	if err != nil || len(hexHash) != 8 {
		return bad("its hash is malformed")
	}
	raw, err := base64.StdEncoding.DecodeString(data)
	if err != nil || len(raw) != 1+ed25519.PublicKeySize || raw[0] != algCosignature {
		return bad("is not an Ed25519 key for cosignatures")
	}
	sum := sha256.Sum256(append([]byte(name+"\n"), raw...))
	if uint64(binary.BigEndian.Uint32(sum[:])) != hash {
		return bad("its hash does not fit")
	}
	return &cosigner{name, uint32(hash), ed25519.PublicKey(raw[1:])}, nil
}

// Name implements [note.Verifier].
func (c *cosigner) Name() string { return c.name }

// KeyHash implements [note.Verifier].
func (c *cosigner) KeyHash() uint32 { return c.hash }

// Verify implements [note.Verifier].
func (c *cosigner) Verify(msg, sig []byte) bool {
	if len(sig) != 8+ed25519.SignatureSize {
		return false
	}
	return ed25519.Verify(c.key, CosignedText(binary.BigEndian.Uint64(sig), msg), sig[8:])
}

// CosignedText is what a witness signs of the text of a checkpoint, at a time
// in seconds.
func CosignedText(seconds uint64, text []byte) []byte {
	return append(fmt.Appendf(nil, "cosignature/v1\ntime %d\n", seconds), text...)
}

// OpenCosigned checks that a note is a checkpoint of v's log that the witness
// signed too, and returns what it says and when that was.
func OpenCosigned(msg []byte, v, witness note.Verifier) (Tree, time.Time, error) {
	t, err := OpenCheckpoint(msg, v)
	if err != nil {
		return Tree{}, time.Time{}, err
	}
	n, err := note.Open(msg, note.VerifierList(witness))
	if err != nil {
		return Tree{}, time.Time{}, fmt.Errorf("%w: cosignature of %s: %w", ErrTampered, witness.Name(), err)
	}
	sig, err := base64.StdEncoding.DecodeString(n.Sigs[0].Base64)
	if err != nil || len(sig) < 12 {
		return Tree{}, time.Time{}, fmt.Errorf("%w: cosignature of %s is malformed", ErrTampered, witness.Name())
	}
	return t, time.Unix(int64(binary.BigEndian.Uint64(sig[4:])&(1<<62-1)), 0).UTC(), nil
}

// maxAnswer bounds what a witness may answer.
const maxAnswer = 64 << 10

// Push sends a checkpoint to a witness, which has seen old entries of the log,
// with the proof that it continues them, and returns the checkpoint with the
// witness's signature. An error wrapping [ErrBehind] gives the size that the
// witness says it has seen.
func Push(ctx context.Context, client *http.Client, w Witness, old uint64, proof []tlog.Hash, c Checkpoint, v note.Verifier) (Cosignature, uint64, error) {
	key, err := NewCosigner(w.Key)
	if err != nil {
		return Cosignature{}, 0, err
	}
	var body bytes.Buffer
	fmt.Fprintf(&body, "old %d\n", old)
	for _, h := range proof {
		fmt.Fprintln(&body, h)
	}
	body.WriteByte('\n')
	body.Write(c.Note)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(w.URL, "/")+"/add-checkpoint", &body)
	if err != nil {
		return Cosignature{}, 0, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return Cosignature{}, 0, fmt.Errorf("witness %s: %w", w.Name, err)
	}
	var answer bytes.Buffer
	_, err = answer.ReadFrom(io.LimitReader(resp.Body, maxAnswer))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return Cosignature{}, 0, fmt.Errorf("witness %s: %w", w.Name, err)
	}
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusConflict:
		seen, err := strconv.ParseUint(strings.TrimSpace(answer.String()), 10, 63)
		if err != nil {
			return Cosignature{}, 0, fmt.Errorf("witness %s: it has seen %.40q entries", w.Name, answer.String())
		}
		return Cosignature{}, seen, fmt.Errorf("witness %s: %w: %d entries, we sent the proof from %d", w.Name, ErrBehind, seen, old)
	default:
		return Cosignature{}, 0, fmt.Errorf("witness %s refuses the checkpoint: %s: %.200q", w.Name, resp.Status, answer.String())
	}
	// Only the line of this witness is kept, whatever else it sends.
	for line := range strings.Lines(answer.String()) {
		if !strings.HasPrefix(line, "— "+key.Name()+" ") {
			continue
		}
		signed := append(append([]byte{}, c.Note...), strings.TrimRight(line, "\n")+"\n"...)
		t, at, err := OpenCosigned(signed, v, key)
		if err != nil {
			continue
		}
		return Cosignature{Witness: w.Name, Size: t.Size, At: at, Note: signed}, t.Size, nil
	}
	return Cosignature{}, 0, fmt.Errorf("witness %s: %w: its answer has no signature by its key", w.Name, ErrTampered)
}

// ParseWitness checks what a person says about a witness.
func ParseWitness(address, key string, now time.Time) (Witness, error) {
	v, err := NewCosigner(key)
	if err != nil {
		return Witness{}, err
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return Witness{}, &warden.Error{Code: warden.CodeInvalid, Message: fmt.Sprintf("address of witness %.200q is not http(s)://host[/path]", address), Hint: "give the address below which add-checkpoint is"}
	}
	return Witness{Name: v.Name(), URL: strings.TrimSuffix(address, "/"), Key: strings.TrimSpace(key), Added: now}, nil
}
