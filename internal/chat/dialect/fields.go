package dialect

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/modelwarden/warden/internal/chat/wire"
)

// A How says what becomes of a field of a request.
type How byte

// The treatments. Fields in no table are unknown: [Options] says what becomes
// of them.
const (
	Pass   How = iota + 1 // nobody looks at it
	Read                  // decisions read it; it must be written exactly so
	Cap                   // read, and bounded by [Caps]
	Strip                 // taken out
	Permit                // refused unless the route permits it by name
	Never                 // refused always
)

// Row names fields, separated by spaces, that are treated alike.
type Row struct {
	How   How
	Names string
}

// A Table is what a dialect knows of the fields of one kind of object.
type Table struct {
	how    map[string]How
	folded map[string]string // as servers that ignore case would read it
	loose  bool
}

// everywhere are fields that choose a host, a key or another model behind the
// gateway's back, or that make the upstream evaluate what the client wrote.
// Several servers honour them, whatever dialect they speak.
var everywhere = []Row{
	{Never, "api_base base_url api_key api_version custom_llm_provider model_list fallbacks extra_headers extra_body organization server_url"},
	{Permit, "prompt_embeds chat_template chat_template_kwargs logits_processors guided_regex guided_grammar"},
}

// Fields returns the table of these rows and of those that are governed
// everywhere; a row of the dialect has precedence.
func Fields(rows ...Row) *Table { return table(false, rows) }

// LooseFields is Fields for servers that read names in lowerCamelCase and with
// underscores alike, as Protocol Buffers' JSON does.
func LooseFields(rows ...Row) *Table { return table(true, rows) }

func table(loose bool, rows []Row) *Table {
	t := &Table{how: map[string]How{}, folded: map[string]string{}, loose: loose}
	for _, r := range slices.Concat(rows, everywhere) {
		for name := range strings.FieldsSeq(r.Names) {
			if _, ok := t.how[name]; ok {
				continue
			}
			t.how[name] = r.How
			t.folded[t.fold(name)] = name
			if loose {
				t.how[Snake(name)] = r.How
			}
		}
	}
	return t
}

// Snake returns a lowerCamelCase name with underscores instead.
func Snake(name string) string {
	var b []byte
	for i := range len(name) {
		c := name[i]
		if 'A' <= c && c <= 'Z' {
			b = append(b, '_')
			c += 'a' - 'A'
		}
		b = append(b, c)
	}
	return string(b)
}

// fold returns the name as a reader sees it that ignores case.
func (t *Table) fold(name string) string {
	plain := true
	for i := range len(name) {
		c := name[i]
		plain = plain && c < utf8.RuneSelf && (c < 'A' || c > 'Z') && (c != '_' || !t.loose)
	}
	if plain {
		return name
	}
	name = strings.ToLower(strings.ToUpper(name)) // as encoding/json folds: ſ and K too
	if t.loose {
		name = strings.ReplaceAll(name, "_", "")
	}
	return name
}

// Check looks at the members of one object of a request: those that may not
// pass, that are written in another way than decisions read them, that are to
// be left out. Where names the object in errors; "" is the body.
func (t *Table) Check(r *Request, where string, object wire.Value, o *Options) error {
	if where != "" {
		where += "."
	}
	var seen map[string]bool
	if t.loose {
		seen = map[string]bool{}
	}
	for name, v := range object.Members() {
		how, known := t.how[name]
		meant := name
		if t.loose {
			if seen[t.fold(name)] {
				return Refuse("field %s%q is there in two spellings", where, name)
			}
			seen[t.fold(name)] = true
		}
		if !known {
			if meant, known = t.folded[t.fold(name)]; known {
				if how = t.how[meant]; how != Never && how != Permit {
					return Refuse("field %s%q must be written %q", where, name, meant)
				}
			}
		} else if v.Escaped() && how != Pass {
			return Refuse("field %s%q must be written without escapes", where, name)
		}
		switch {
		case !known && o.Unknown == RefuseUnknown:
			return Refuse("field %s%q is not known here", where, name)
		case !known && o.Unknown == DropUnknown, how == Strip:
			r.edits.Remove(object, v)
			r.Dropped = append(r.Dropped, where+name)
		case how == Never:
			return Refuse("field %s%q is not allowed", where, meant)
		case how == Permit && (name != meant || v.Escaped() || !slices.Contains(o.Permit, name)):
			return Refuse("field %s%q is not allowed on this route", where, meant)
		}
	}
	return nil
}

// Gone reports whether a member of that name was left out by [Table.Check]: then
// it is not read either.
func (t *Table) Gone(name string, o *Options) bool {
	how, known := t.how[name]
	return !known && o.Unknown == DropUnknown || how == Strip
}

// Names returns the fields of the table with their treatment, for tests and
// documents.
func (t *Table) Names() map[string]How {
	return maps.Clone(t.how)
}

// PlainName reports whether a model's name needs no escape in a path, so that no
// two readers of the path can differ about it.
func PlainName(name string) bool {
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
		default:
			return false
		}
	}
	return name != "" && strings.Trim(name, ".") != ""
}

// Unknown says what becomes of fields that no table knows.
type Unknown string

// The choices. The zero Unknown forwards.
const (
	ForwardUnknown Unknown = "forward"
	DropUnknown    Unknown = "drop"
	RefuseUnknown  Unknown = "refuse"
)

// Remote says what becomes of content that the upstream would have to fetch.
type Remote string

// The choices. The zero Remote denies.
const (
	RemoteDeny  Remote = "deny"
	RemoteHosts Remote = "allowlist" // https URLs of named hosts
	RemotePass  Remote = "pass"
)

// Options are what a route allows. The zero Options allow no byte; start from
// [DefaultOptions].
type Options struct {
	Limits  wire.Limits
	Permit  []string // names of fields of treatment Permit
	Unknown Unknown
	Remote  Remote
	Hosts   []string // of RemoteHosts, in lower case
	Caps    Caps
}

// Caps bound numbers of a request. Zero: no bound. More output than allowed is
// lowered; all else that is over its bound is refused, because the client would
// not get what it asked for.
type Caps struct {
	MaxOutput   int64
	Choices     int64
	TopLogprobs int64
	Stop        int64 // entries of a stop list
	Rows        int64 // of a batch
}

// DefaultOptions returns those of a route to an own upstream.
func DefaultOptions() Options {
	return Options{Limits: wire.DefaultLimits(), Caps: Caps{Choices: 16, TopLogprobs: 20, Stop: 64, Rows: 4096}}
}

// Int reads a member that must be a whole number from least on; null and
// missing are zero.
func Int(object wire.Value, name string, least int64) (int64, error) {
	v := object.Get(name)
	if v.Kind() == wire.Missing || v.Kind() == wire.Null {
		return 0, nil
	}
	n, ok := v.Int()
	if !ok || n < least {
		return 0, Refuse("%s is not a whole number from %d on", name, least)
	}
	return n, nil
}

// Bool reads a member that must be a boolean; null and missing are false.
func Bool(object wire.Value, name string) (bool, error) {
	v := object.Get(name)
	if v.Kind() == wire.Missing || v.Kind() == wire.Null {
		return false, nil
	}
	b, ok := v.Bool()
	if !ok {
		return false, Refuse("%s is not a boolean", name)
	}
	return b, nil
}

// String reads a member that must be a string; null and missing are "".
func String(object wire.Value, name string) (string, error) {
	v := object.Get(name)
	if v.Kind() == wire.Missing || v.Kind() == wire.Null {
		return "", nil
	}
	s, ok := v.Text()
	if !ok {
		return "", Refuse("%s is not a string", name)
	}
	return s, nil
}

// Capped reads a whole number and refuses one above its bound.
func Capped(object wire.Value, name string, most int64) (int64, error) {
	n, err := Int(object, name, 0)
	if err == nil && most > 0 && n > most {
		return 0, Refuse("%s is %d, at most %d", name, n, most)
	}
	return n, err
}

// MaxOutput reads the numbers of these names that bound the output, and lowers
// them to the cap.
func (r *Request) MaxOutput(object wire.Value, o *Options, names ...string) error {
	for _, name := range names {
		n, err := Int(object, name, -2) // Ollama: -1 and -2 are "no bound"
		if err != nil {
			return err
		}
		v := object.Get(name)
		if v.Kind() == wire.Missing {
			continue
		}
		r.Places.MaxOutput = append(r.Places.MaxOutput, v)
		if n <= 0 && v.Kind() != wire.Null && name != "num_predict" {
			return Refuse("%s is not a whole number from 1 on", name)
		}
		if n > 0 && (r.Params.MaxOutput == 0 || n > r.Params.MaxOutput) {
			r.Params.MaxOutput = n
		}
	}
	if o.Caps.MaxOutput > 0 && r.Params.MaxOutput > o.Caps.MaxOutput {
		r.SetMaxOutput(o.Caps.MaxOutput)
	}
	return nil
}

// ReadTemperature reads the member temperature.
func (r *Request) ReadTemperature(object wire.Value) error {
	t := object.Get("temperature")
	if t.Kind() == wire.Missing || t.Kind() == wire.Null {
		return nil
	}
	f, ok := t.Float()
	if !ok {
		return Refuse("temperature is not a number")
	}
	r.Params.Temperature = &f
	return nil
}

// Index reads a whole number that indexes something; missing is none.
func Index(v wire.Value, none, most int) (int, error) {
	if v.Kind() == wire.Missing {
		return none, nil
	}
	n, ok := v.Int()
	if !ok || n < 0 || n > int64(most) {
		return 0, fmt.Errorf("an index is not a number up to %d", most)
	}
	return int(n), nil
}

// Stop looks at a stop list: a string, or strings not more than the cap.
func Stop(object wire.Value, name string, o *Options) error {
	v := object.Get(name)
	switch v.Kind() {
	case wire.Missing, wire.Null, wire.String:
		return nil
	case wire.Array:
		if n := int64(v.Len()); o.Caps.Stop > 0 && n > o.Caps.Stop {
			return Refuse("%s has %d entries, at most %d", name, n, o.Caps.Stop)
		}
		for s := range v.Items() {
			if s.Kind() != wire.String {
				return Refuse("%s has an entry that is not a string", name)
			}
		}
		return nil
	}
	return Refuse("%s is neither a string nor a list", name)
}
