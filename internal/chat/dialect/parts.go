package dialect

import (
	"encoding/base64"
	"net/url"
	"slices"
	"strings"

	"github.com/modelwarden/warden/internal/chat"
	"github.com/modelwarden/warden/internal/chat/wire"
)

// SpanOf returns where v stands.
func SpanOf(v wire.Value) chat.Span {
	s, e := v.Span()
	return chat.Span{Start: s, End: e}
}

// TextPart returns the part of a string.
func TextPart(kind chat.PartKind, v wire.Value) chat.Part {
	s, _ := v.Text()
	return chat.Part{Kind: kind, Text: []byte(s), Span: SpanOf(v)}
}

// RawPart returns the part whose text is the JSON of v itself: a call's
// arguments where they are not wrapped in a string.
func RawPart(kind chat.PartKind, v wire.Value) chat.Part {
	if v.Kind() == wire.String {
		return TextPart(kind, v)
	}
	return chat.Part{Kind: kind, Text: v.Raw(), Span: SpanOf(v)}
}

// UnknownPart returns the part of something the dialect does not know: its text
// is what the strings in it say.
func UnknownPart(v wire.Value) chat.Part {
	return chat.Part{Kind: chat.Unknown, Text: Strings(v), Span: SpanOf(v)}
}

// Strings returns the strings in v, with line ends between them.
func Strings(v wire.Value) []byte {
	if s, ok := v.Text(); ok {
		return []byte(s)
	}
	var b []byte
	for _, x := range v.All() {
		if s, ok := x.Text(); ok {
			if len(b) > 0 {
				b = append(b, '\n')
			}
			b = append(b, s...)
		}
	}
	return b
}

// Blob reads the address of content: a data URL holds it, any other makes the
// upstream fetch it (CVE-2025-6242) and must be allowed.
func Blob(address string, o *Options) (*chat.Blob, error) {
	if len(address) >= 5 && strings.EqualFold(address[:5], "data:") {
		head, data, ok := strings.Cut(address[5:], ",")
		if !ok {
			return nil, Refuse("a data URL has no comma")
		}
		mediaType, parameters, _ := strings.Cut(head, ";")
		b := &chat.Blob{MediaType: mediaType, Size: int64(len(data))}
		if parameters == "base64" || strings.HasSuffix(parameters, ";base64") {
			n, err := Base64Size(data)
			if err != nil {
				return nil, err
			}
			b.Size = n
		}
		return b, nil
	}
	if err := fetchable(address, o); err != nil {
		return nil, err
	}
	return &chat.Blob{URL: address}, nil
}

func fetchable(address string, o *Options) error {
	if o.Remote == RemotePass {
		if scheme, _, ok := strings.Cut(address, ":"); !ok || strings.EqualFold(scheme, "file") {
			return Refuse("content cannot be fetched from there")
		}
		return nil
	}
	if o.Remote != RemoteHosts {
		return Refuse("remote content is not allowed; send it as a data URL")
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.User != nil || u.Port() != "" && u.Port() != "443" || !slices.Contains(o.Hosts, strings.ToLower(u.Hostname())) ||
		strings.ContainsAny(address, "\\\t\r\n ") { // readers of URLs disagree about these
		return Refuse("remote content is allowed from listed hosts only")
	}
	return nil
}

// Base64Size returns how many bytes a base64 text stands for, and an error if
// it is none.
func Base64Size(data string) (int64, error) {
	body := strings.TrimRight(data, "=")
	for i := range len(body) {
		switch c := body[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '+', c == '/', c == '-', c == '_':
		default:
			return 0, Refuse("content is not base64")
		}
	}
	if len(data)-len(body) > 2 || len(body)%4 == 1 {
		return 0, Refuse("content is not base64")
	}
	return int64(base64.RawStdEncoding.DecodedLen(len(body))), nil
}

// NoFetch looks at every member of v, at any depth, that names an address, and
// refuses what may not be fetched. It is for parts that are not understood, and
// for those that servers read more of than their type says.
func NoFetch(v wire.Value, o *Options) error {
	within := 0 // the bytes of an object like image_url, whose url is an address
	for name, x := range v.All() {
		start, end := x.Span()
		n := strings.ToLower(strings.ToUpper(name))
		address := strings.HasSuffix(n, "_url") || strings.HasSuffix(n, "_uri") || strings.HasSuffix(n, "fileuri")
		if address && (x.Kind() == wire.Object || x.Kind() == wire.Array) {
			within = max(within, end)
			continue
		}
		if !address && (n != "url" && n != "uri") || x.Kind() == wire.Null {
			continue
		}
		s, ok := x.Text()
		if !ok {
			if start < within || address {
				return Refuse("%s is not an address", name)
			}
			continue
		}
		if _, err := Blob(s, o); err != nil {
			return err
		}
	}
	return nil
}
