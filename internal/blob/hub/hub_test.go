package hub_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/blob/hub"
)

const commit = "0123456789abcdef0123456789abcdef01234567"

// A mirror is a hub with one model; its fields change what it does wrong.
type mirror struct {
	*httptest.Server
	big      []byte
	noRange  bool
	changing bool
	cutShort bool
	foreign  bool
	busy     atomic.Int32 // answers 429 so many times first
	requests atomic.Int32
	sent     atomic.Int64
}

func newMirror(t *testing.T) *mirror {
	m := &mirror{big: make([]byte, 3<<20)}
	for i := range m.big {
		m.big[i] = byte(i * 7)
	}
	m.Server = httptest.NewServer(http.HandlerFunc(m.serve))
	t.Cleanup(m.Close)
	return m
}

func (m *mirror) serve(w http.ResponseWriter, r *http.Request) {
	m.requests.Add(1)
	if m.busy.Add(-1) >= 0 {
		w.Header().Set("Retry-After", "0")
		w.WriteHeader(http.StatusTooManyRequests)
		return
	}
	switch r.URL.Path {
	case "/api/models/org/model/revision/main":
		fmt.Fprintf(w, `{"sha":%q}`, commit)
	case "/api/models/org/model/tree/" + commit:
		if r.URL.Query().Get("cursor") == "" {
			host := m.URL
			if m.foreign {
				host = "http://127.0.0.1:1"
			}
			w.Header().Set("Link", fmt.Sprintf(`<%s%s?recursive=true&cursor=2>; rel="next"`, host, r.URL.Path))
			fmt.Fprint(w, `[{"type":"directory","path":"sub"},{"type":"file","path":"README.md","size":3}]`)
			return
		}
		fmt.Fprintf(w, `[{"type":"file","path":"sub/big file.bin","size":130,"lfs":{"oid":%q,"size":%d}}]`,
			strings.TrimPrefix(warden.Sum(m.big).String(), "sha256:"), len(m.big))
	case "/org/model/resolve/" + commit + "/sub/big file.bin":
		tag := `"v1"`
		if m.changing && m.requests.Load()%2 == 0 {
			tag = `"v2"`
		}
		w.Header().Set("ETag", tag)
		if m.noRange {
			r.Header.Del("Range")
		}
		if m.cutShort {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes 0-262143/%d", len(m.big)))
			w.Header().Set("Content-Length", "262144")
			w.WriteHeader(http.StatusPartialContent)
			w.Write(m.big[:1000])
			return
		}
		http.ServeContent(&counting{w, &m.sent}, r, "", time.Time{}, bytes.NewReader(m.big))
	default:
		http.NotFound(w, r)
	}
}

type counting struct {
	http.ResponseWriter
	n *atomic.Int64
}

func (c *counting) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return c.ResponseWriter.Write(p)
}

func (m *mirror) client() *hub.Client { return &hub.Client{Base: m.URL, HTTP: m.Client()} }

func list(t *testing.T, m *mirror) hub.Listing {
	t.Helper()
	l, err := m.client().List(t.Context(), hub.Ref{ID: "org/model", Revision: "main"})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestListAndRead(t *testing.T) {
	m := newMirror(t)
	m.busy.Store(1)
	l := list(t, m)
	if l.Commit != commit || len(l.Files) != 2 || l.Files[1].Digest != warden.Sum(m.big) || l.Files[1].Size != int64(len(m.big)) {
		t.Fatalf("got %+v", l)
	}
	r := m.client().Open(t.Context(), l, l.Files[1])
	tail := make([]byte, 100)
	if _, err := r.ReadAt(tail, l.Files[1].Size-100); err != nil || !bytes.Equal(tail, m.big[len(m.big)-100:]) {
		t.Fatalf("tail: %v", err)
	}
	if n := r.Fetched(); n > 256<<10 || m.sent.Load() != n {
		t.Errorf("%d bytes fetched, %d sent, for 100", n, m.sent.Load())
	}
	if err := iotest.TestReader(io.NewSectionReader(r, 0, l.Files[1].Size), m.big); err != nil {
		t.Error(err)
	}
}

func TestRefuses(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(*mirror)
		want error
	}{
		{"no_ranges", func(m *mirror) { m.noRange = true }, hub.ErrAnswer},
		{"changes", func(m *mirror) { m.changing = true }, hub.ErrChanged},
		{"cut_short", func(m *mirror) { m.cutShort = true }, hub.ErrAnswer},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newMirror(t)
			l := list(t, m)
			tt.do(m)
			r := m.client().Open(t.Context(), l, l.Files[1])
			_, err := io.Copy(io.Discard, io.NewSectionReader(r, 0, l.Files[1].Size))
			if !errors.Is(err, tt.want) {
				t.Errorf("error = %v, want %v", err, tt.want)
			}
		})
	}
	m := newMirror(t)
	m.foreign = true
	if _, err := m.client().List(t.Context(), hub.Ref{ID: "org/model", Revision: "main"}); !errors.Is(err, hub.ErrAnswer) {
		t.Errorf("next page elsewhere: %v", err)
	}
	if _, err := m.client().List(t.Context(), hub.Ref{ID: "org/model", Revision: "nope"}); !errors.Is(err, hub.ErrAnswer) {
		t.Errorf("unknown revision: %v", err)
	}
}

func TestParseRef(t *testing.T) {
	for text, want := range map[string]hub.Ref{
		"hf://org/model": {ID: "org/model", Revision: "main"}, "hf://gpt2@v1": {ID: "gpt2", Revision: "v1"}, "hf://o/m@refs/pr/1": {ID: "o/m", Revision: "refs/pr/1"},
	} {
		if got, err := hub.ParseRef(text); err != nil || got != want {
			t.Errorf("ParseRef(%q) = %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "hf://", "hf://a/b/c", "hf://../x", "hf://a//b", "hf://a/b@", "http://a/b", "hf://a/b?x"} {
		if got, err := hub.ParseRef(text); !errors.Is(err, hub.ErrName) {
			t.Errorf("ParseRef(%q) = %+v, %v; want ErrName", text, got, err)
		}
	}
}
