// Package witnesstest has a witness of transparency logs, as
// c2sp.org/tlog-witness wants it, in the process of a test.
package witnesstest

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/modelwarden/warden/internal/audit"
)

// maxNote bounds a checkpoint.
const maxNote = 1 << 20

// A Witness is a server for one log. Tests change its fields between requests
// only.
type Witness struct {
	URL  string     // below which add-checkpoint is
	Seen audit.Tree // the last that it signed
	Bad  bool       // it signs something else

	name string
	key  ed25519.PrivateKey
	log  note.Verifier

	mu sync.Mutex // one request at a time
}

// New starts a witness. It ends with the test.
func New(t *testing.T, name string, log note.Verifier) *Witness {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	w := &Witness{name: name, key: key, log: log}
	srv := httptest.NewServer(w)
	t.Cleanup(srv.Close)
	w.URL = srv.URL + "/w"
	return w
}

func (w *Witness) hash() (raw []byte, hash uint32) {
	raw = append([]byte{4}, w.key[32:]...) // the public half
	sum := sha256.Sum256(append([]byte(w.name+"\n"), raw...))
	return raw, binary.BigEndian.Uint32(sum[:])
}

// Public returns its public key.
func (w *Witness) Public() string {
	raw, hash := w.hash()
	return fmt.Sprintf("%s+%08x+%s", w.name, hash, base64.StdEncoding.EncodeToString(raw))
}

// ServeHTTP implements [http.Handler].
func (w *Witness) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	fail := func(status int, text string) { http.Error(out, text, status) }
	in := bufio.NewReader(r.Body)
	var old uint64
	line, err := in.ReadString('\n')
	if _, scanErr := fmt.Sscanf(line, "old %d\n", &old); err != nil || scanErr != nil || r.URL.Path != "/w/add-checkpoint" {
		fail(http.StatusBadRequest, "malformed")
		return
	}
	var proof []tlog.Hash
	for {
		line, err := in.ReadString('\n')
		if line == "\n" {
			break
		}
		h, hashErr := tlog.ParseHash(strings.TrimSpace(line))
		if err != nil || hashErr != nil {
			fail(http.StatusBadRequest, "malformed proof")
			return
		}
		proof = append(proof, h)
	}
	var msg bytes.Buffer
	if _, err := msg.ReadFrom(io.LimitReader(in, maxNote)); err != nil {
		fail(http.StatusBadRequest, err.Error())
		return
	}
	now, err := audit.OpenCheckpoint(msg.Bytes(), w.log)
	switch {
	case err != nil:
		fail(http.StatusForbidden, err.Error())
		return
	case old != w.Seen.Size:
		out.WriteHeader(http.StatusConflict)
		fmt.Fprintf(out, "%d\n", w.Seen.Size)
		return
	case old == now.Size && now.Root != w.Seen.Root:
		fail(http.StatusConflict, "other root")
		return
	case old > 0 && old < now.Size:
		if err := tlog.CheckTree(proof, int64(now.Size), now.Root, int64(old), w.Seen.Root); err != nil {
			fail(http.StatusUnprocessableEntity, err.Error())
			return
		}
	}
	w.Seen = now
	text, _, _ := strings.Cut(msg.String(), "\n\n")
	if w.Bad {
		text += "x"
	}
	_, hash := w.hash()
	at := uint64(time.Now().Unix())
	sig := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(nil, hash), at)
	sig = append(sig, ed25519.Sign(w.key, audit.CosignedText(at, []byte(text+"\n")))...)
	fmt.Fprintf(out, "— %s %s\n", w.name, base64.StdEncoding.EncodeToString(sig))
}
