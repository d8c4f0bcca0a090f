package audit_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/note"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/audit"
)

func example() warden.Event {
	return warden.Event{
		Index: 7, Time: time.Date(2026, 3, 3, 12, 0, 0, 500, time.UTC), Actor: warden.Principal{ID: "alice", Roles: []string{"ml-eng", "release"}},
		Action: "registry.push", Object: warden.Ref{Kind: warden.KindModel, ID: "team/bert@1"}, Payload: warden.Sum([]byte("x")),
	}
}

// The bytes of a leaf are fixed for ever: they are hashed.
func TestLeafGolden(t *testing.T) {
	const want = `{"action":"registry.push","actor":{"id":"alice","roles":["ml-eng","release"]},"object":"model:team/bert@1",` +
		`"payload":"sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881","seq":7,"time":"2026-03-03T12:00:00.0000005Z"}`
	got, err := audit.Leaf(example())
	if err != nil || string(got) != want {
		t.Fatalf("Leaf = %s, %v; want %s", got, err, want)
	}
	back, err := audit.ParseLeaf(got)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(example(), back); diff != "" {
		t.Errorf("ParseLeaf (-want +got):\n%s", diff)
	}
}

func TestLeafRefused(t *testing.T) {
	for name, change := range map[string]func(*warden.Event){
		"no_actor": func(e *warden.Event) { e.Actor.ID = "" }, "no_action": func(e *warden.Event) { e.Action = "" },
		"no_object": func(e *warden.Event) { e.Object = warden.Ref{} }, "not_text": func(e *warden.Event) { e.Actor.ID = "\xff" },
	} {
		ev := example()
		change(&ev)
		b, err := audit.Leaf(ev)
		if err == nil && name == "not_text" { // encoding/json makes it U+FFFD
			ev.Actor.ID = "\uFFFD"
			if same, err := audit.Leaf(ev); err == nil && string(same) == string(b) {
				continue
			}
		}
		if err == nil {
			t.Errorf("%s: Leaf = %s, want an error", name, b)
		}
	}
	good, err := audit.Leaf(example())
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		"", "{}", string(good) + " ", strings.Replace(string(good), `{"action"`, `{ "action"`, 1), strings.Replace(string(good), `"seq":7`, `"seq":7,"more":1`, 1),
		strings.Replace(string(good), "T12", "T11", 1) + "x", strings.Replace(string(good), "05Z", "05+00:00", 1), strings.Replace(string(good), "model:", "model", 1),
	} {
		if ev, err := audit.ParseLeaf([]byte(text)); err == nil {
			t.Errorf("ParseLeaf(%s) = %+v, want an error", text, ev)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	skey, _, err := audit.GenerateKey("a.example/warden")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := audit.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	for name, cfg := range map[string]audit.Config{
		"no_origin": {Signer: signer, Now: time.Now}, "other_key": {Origin: "b.example/warden", Signer: signer, Now: time.Now},
		"no_signer": {Origin: "a.example/warden", Now: time.Now}, "no_clock": {Origin: "a.example/warden", Signer: signer},
	} {
		if _, err := audit.New(cfg); err == nil {
			t.Errorf("%s: New accepted it", name)
		}
	}
	if _, err := audit.NewSigner("PRIVATE+KEY+secret"); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("NewSigner = %v, want an error that does not quote the key", err)
	}
}

func keys(t testing.TB) (note.Signer, note.Verifier) {
	t.Helper()
	skey, vkey, err := audit.GenerateKey(audit.Origin("test.example"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := audit.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	v, err := audit.NewVerifier(vkey)
	if err != nil {
		t.Fatal(err)
	}
	return s, v
}

const root = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="

func TestOpenCheckpoint(t *testing.T) {
	s, v := keys(t)
	sign := func(text string) []byte {
		msg, err := note.Sign(&note.Note{Text: text}, s)
		if err != nil {
			t.Fatal(err)
		}
		return msg
	}
	tree, err := audit.OpenCheckpoint(sign("test.example/warden\n5\n"+root+"\n"), v)
	if err != nil || tree.Size != 5 || tree.Root.String() != root {
		t.Errorf("OpenCheckpoint = %+v, %v", tree, err)
	}
	_, other := keys(t)
	if _, err := audit.OpenCheckpoint(sign("test.example/warden\n5\n"+root+"\n"), other); !errors.Is(err, audit.ErrTampered) {
		t.Errorf("signed by another key: %v, want ErrTampered", err)
	}
	for _, text := range []string{
		"other.example/warden\n5\n" + root + "\n", "test.example/warden\n05\n" + root + "\n", "test.example/warden\n-5\n" + root + "\n",
		"test.example/warden\n5\nAAAA\n", "test.example/warden\n5\n", "test.example/warden\n5\n" + root + "\nextension\n", "test.example/warden\n99999999999999999999\n" + root + "\n",
	} {
		if tree, err := audit.OpenCheckpoint(sign(text), v); !errors.Is(err, audit.ErrTampered) {
			t.Errorf("OpenCheckpoint(%q) = %+v, %v; want ErrTampered", text, tree, err)
		}
	}
}

// Whatever is accepted as a leaf is what Leaf makes of its event.
func FuzzParseLeaf(f *testing.F) {
	b, err := audit.Leaf(example())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"action":"a","actor":{"id":"b"},"object":"c:d","seq":0,"time":"2026-03-03T12:00:00Z"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		ev, err := audit.ParseLeaf(b)
		if err != nil {
			return
		}
		if again, err := audit.Leaf(ev); err != nil || string(again) != string(b) {
			t.Errorf("Leaf(ParseLeaf(%s)) = %s, %v", b, again, err)
		}
	})
}

func FuzzOpenCheckpoint(f *testing.F) {
	s, v := keys(f)
	msg, err := note.Sign(&note.Note{Text: "test.example/warden\n5\n" + root + "\n"}, s)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(msg)
	f.Fuzz(func(t *testing.T, b []byte) {
		if tree, err := audit.OpenCheckpoint(b, v); err == nil && tree.Root.String() != root {
			t.Errorf("forged checkpoint %+v", tree)
		}
	})
}
