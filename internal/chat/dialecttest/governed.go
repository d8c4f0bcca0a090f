package dialecttest

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/modelwarden/warden/internal/chat/dialect"
	"github.com/modelwarden/warden/internal/chat/wire"
)

// Governed checks each field of a table by itself, at the place in a body that
// holds %s where members can stand: its proper spelling, other cases, escapes,
// and whether a route can permit it. A field that is in the body already is
// checked in other spellings only.
func Governed(t *testing.T, d *dialect.Dialect, to dialect.Target, table *dialect.Table, body string) {
	t.Helper()
	if _, err := d.Decode(to, dialect.None, []byte(strings.Replace(body, "%s", "", 1)), dialect.DefaultOptions()); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	for name, how := range table.Names() {
		if how == dialect.Pass {
			continue
		}
		for _, spelt := range []string{strings.ToUpper(name[:1]) + name[1:], strings.ToUpper(name), fmt.Sprintf(`\u%04x%s`, name[0], name[1:])} {
			b := strings.Replace(body, "%s", `"`+spelt+`":null,`, 1)
			_, err := d.Decode(to, dialect.None, []byte(b), dialect.DefaultOptions())
			if spelt != name && !errors.Is(err, dialect.ErrRequest) && !errors.Is(err, wire.ErrSyntax) {
				t.Errorf("%s: %v", b, err)
			}
		}
		if strings.Contains(body, `"`+name+`":`) {
			continue
		}
		b := []byte(strings.Replace(body, "%s", `"`+name+`":null,`, 1))
		_, err := d.Decode(to, dialect.None, b, dialect.DefaultOptions())
		refused := how == dialect.Never || how == dialect.Permit
		if refused && !errors.Is(err, dialect.ErrRequest) {
			t.Errorf("%s: %v", b, err)
		}
		o := dialect.DefaultOptions()
		o.Permit = []string{name}
		_, err = d.Decode(to, dialect.None, b, o)
		if (how == dialect.Never) != (err != nil) && refused {
			t.Errorf("permitted %s: %v", b, err)
		}
	}
}

// Refused checks that each of these bodies is refused.
func Refused(t *testing.T, d *dialect.Dialect, to dialect.Target, bodies ...string) {
	t.Helper()
	for _, b := range bodies {
		if r, err := d.Decode(to, dialect.None, []byte(b), dialect.DefaultOptions()); !errors.Is(err, dialect.ErrRequest) && !errors.Is(err, wire.ErrSyntax) {
			t.Errorf("%s: %+v, %v", b, r, err)
		}
	}
}

// Said returns what the messages of a request say, one line a part.
func Said(r *dialect.Request) []string {
	var out []string
	for _, m := range r.Messages {
		for _, p := range m.Parts {
			s := fmt.Sprintf("%s/%s:%s", m.Role, p.Kind, p.Text)
			if p.Call != nil {
				s += "@" + p.Call.Name
			}
			if p.Blob != nil {
				s += fmt.Sprintf("%s+%d", p.Blob.MediaType, p.Blob.Size)
			}
			out = append(out, s)
		}
	}
	return out
}

// Hostile are bodies that parsers disagree about, to be put into a member.
func Hostile() []string {
	return []string{
		`{"a":1,"a":2}`, `{"a":1,"\u0061":2}`, `"\ud800"`, `1e400`, `01`, "\"\xff\"", `[1,]`, `{/**/}`, `NaN`, "\"\x00\"",
		strings.Repeat("[", 70) + strings.Repeat("]", 70),
	}
}
