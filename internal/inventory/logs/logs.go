// Package logs tells from logs which AI services are used: proxy, access and DNS
// logs, audit logs of clouds, dumps of a Kubernetes API.
//
// The format is told line by line from the content. A file is read in constant
// memory; a line that says nothing readable is counted, never dropped silently.
// Bodies are not looked at: these logs have none.
package logs

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/modelwarden/warden/internal/source/recognise"
)

// Schema names the form of a [Report].
const Schema = "warden.inventory-logs/v1"

// A Use is one service, as one client uses it.
type Use struct {
	Provider string    `json:"provider"`
	Model    string    `json:"model"` // where the log names one
	Host     string    `json:"host"`
	Client   string    `json:"client"` // address or identity; a keyed hash unless names are wanted
	Source   string    `json:"source"` // proxy, dns, cloudtrail, azure, google, kubernetes
	Count    int       `json:"count"`
	First    time.Time `json:"first_seen"` // zero: the log has no time
	Last     time.Time `json:"last_seen"`
	Shadow   bool      `json:"shadow"` // no repository that is known uses it
}

// A File says how much of one log was understood.
type File struct {
	Name    string         `json:"name"`
	Lines   int            `json:"lines"`
	Formats map[string]int `json:"formats"` // lines that were understood, by format
	Unread  int            `json:"unread"`  // lines that were not
	Example int            `json:"unread_example,omitempty"`
	Error   string         `json:"error,omitempty"`
}

// A Report is what a set of logs says.
type Report struct {
	Schema   string `json:"schema"`
	Complete bool   `json:"complete"` // every file was read to its end, and has a line of a known format
	Uses     []Use  `json:"uses"`
	Files    []File `json:"files"`
}

// Options configure a [Reader].
type Options struct {
	Identities bool   // keep addresses and names of clients
	Key        []byte // of the hash that stands for a client otherwise
}

// A Reader collects what logs say. It is for one goroutine at a time.
type Reader struct {
	rows *recognise.Rows
	opts Options
	uses map[useKey]*Use
	rep  Report
	memo map[string]string // providers of hosts
}

type useKey struct{ provider, model, host, client, source string }

// New returns a reader.
func New(rows *recognise.Rows, opts Options) *Reader {
	return &Reader{rows: rows, opts: opts, uses: map[useKey]*Use{}, memo: map[string]string{}, rep: Report{Schema: Schema, Complete: true, Files: []File{}}}
}

// ErrFormat is the error of a log of which no line was understood: that nothing
// was seen in it says nothing.
var ErrFormat = errors.New("no line is of a known format")

// Limits of one log.
const (
	mostLine = 1 << 20 // bytes of a line that is looked at
	mostUses = 200_000 // different uses that are told apart
	mostDump = 256 << 20
)

// Read reads one log to its end. What goes wrong is in the report.
func (r *Reader) Read(ctx context.Context, name string, in io.Reader) {
	f := File{Name: name, Formats: map[string]int{}}
	err := r.read(ctx, &f, in)
	if err == nil && f.Lines > 0 && f.Unread == f.Lines {
		err = ErrFormat
	}
	if err != nil {
		f.Error = err.Error()
		r.rep.Complete = false
	}
	r.rep.Files = append(r.rep.Files, f)
}

func (r *Reader) read(ctx context.Context, f *File, in io.Reader) error {
	b := bufio.NewReaderSize(in, 256<<10)
	if head, _ := b.Peek(2); bytes.Equal(head, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(b)
		if err != nil {
			return err
		}
		b = bufio.NewReaderSize(z, 256<<10)
	}
	if head, _ := b.Peek(4096); isDocument(head) {
		return r.document(ctx, f, b)
	}
	var fields []string // of Zeek
	for {
		line, long, err := readLine(b)
		if len(line) > 0 || long {
			f.Lines++
			if f.Lines%4096 == 0 && ctx.Err() != nil {
				return context.Cause(ctx)
			}
			switch {
			case long:
				r.unread(f)
			case bytes.HasPrefix(line, []byte("#fields\t")):
				fields = strings.Split(string(line), "\t")[1:]
			case line[0] == '#':
			default:
				if kind := r.line(string(line), fields); kind != "" {
					f.Formats[kind]++
				} else {
					r.unread(f)
				}
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (r *Reader) unread(f *File) {
	if f.Unread++; f.Example == 0 {
		f.Example = f.Lines
	}
}

// readLine returns a line without its end. long says that it was too long to keep.
func readLine(b *bufio.Reader) (line []byte, long bool, err error) {
	for {
		part, err := b.ReadSlice('\n')
		if !long && len(line)+len(part) <= mostLine {
			if line == nil && err == nil {
				return bytes.TrimRight(part, "\r\n"), false, nil
			}
			line = append(line, part...)
		} else {
			long, line = true, nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return bytes.TrimRight(line, "\r\n"), long, err
		}
	}
}

// isDocument reports whether a log is one JSON document, as CloudTrail and
// Kubernetes write it.
func isDocument(head []byte) bool {
	t := bytes.TrimLeft(head, " \t\r\n")
	if len(t) == 0 || t[0] != '{' && t[0] != '[' {
		return false
	}
	first, _, _ := bytes.Cut(t, []byte("\n"))
	return t[0] == '[' || bytes.Contains(first, []byte(`{"Records":[`)) || bytes.Contains(first, []byte(`{"Records": [`)) || bytes.Contains(first, []byte(`"apiVersion"`)) && bytes.Contains(t, []byte(`"kind"`)) || !json.Valid(bytes.TrimSpace(first))
}

var (
	access = regexp.MustCompile(`^(\S+) \S+ (\S+) \[([^\]]+)\] "(\w+) (\S+)[^"]*" \d+`)
	bind   = regexp.MustCompile(`client (?:@0x[0-9a-f]+ )?([0-9a-fA-F.:]+)#\d+ \(([^)]+)\): (?:view \S+: )?query: (\S+) IN`)
	masq   = regexp.MustCompile(`dnsmasq\[\d+\]:(?: \d+ \S+)? query\[\w+\] (\S+) from (\S+)`)
	when   = regexp.MustCompile(`^(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?)|^(\d\d-\w{3}-\d{4} \d\d:\d\d:\d\d)|^(\w{3} [ \d]\d \d\d:\d\d:\d\d)`)
)

// line understands one line and says in which format.
func (r *Reader) line(s string, fields []string) string {
	if s[0] == '{' {
		return r.object(s)
	}
	if fields != nil && strings.Count(s, "\t") >= len(fields)-1 {
		return r.zeek(strings.Split(s, "\t"), fields)
	}
	if c := s[0]; c >= '0' && c <= '9' && r.squid(s) {
		return "squid"
	}
	if m := access.FindStringSubmatch(s); m != nil {
		t, _ := time.Parse("02/Jan/2006:15:04:05 -0700", m[3])
		who := m[1]
		if m[2] != "-" {
			who = m[2]
		}
		r.host("proxy", hostOf(m[5]), who, t.UTC())
		return "access"
	}
	if strings.Contains(s, "query") {
		if m := bind.FindStringSubmatch(s); m != nil {
			r.host("dns", m[3], m[1], timeIn(s))
			return "bind"
		}
		if m := masq.FindStringSubmatch(s); m != nil {
			r.host("dns", m[1], m[2], timeIn(s))
			return "dnsmasq"
		}
	}
	return ""
}

// squid understands Squid's native format: time, elapsed, client, code/status,
// bytes, method, address, user.
func (r *Reader) squid(s string) bool {
	var f [8]string
	n := 0
	for s != "" && n < len(f) {
		s = strings.TrimLeft(s, " \t")
		i := strings.IndexAny(s, " \t")
		if i < 0 {
			i = len(s)
		}
		f[n], s = s[:i], s[i:]
		n++
	}
	sec, _, ok := strings.Cut(f[0], ".")
	t, err := strconv.ParseInt(sec, 10, 64)
	if n < len(f) || !ok || err != nil || len(sec) < 9 || len(sec) > 11 || !strings.Contains(f[3], "/") {
		return false
	}
	if _, err := strconv.Atoi(f[4]); err != nil {
		return false
	}
	who := f[2]
	if f[7] != "-" {
		who = f[7]
	}
	r.host("proxy", hostOf(f[6]), who, time.Unix(t, 0).UTC())
	return true
}

func timeIn(s string) time.Time {
	m := when.FindStringSubmatch(s)
	if m == nil {
		return time.Time{}
	}
	for i, layout := range [...]string{"", "02-Jan-2006 15:04:05"} {
		if i > 0 && m[i+1] != "" {
			t, _ := time.Parse(layout, m[i+1])
			return t
		}
	}
	return parseTime(m[1])
}

func parseTime(s string) time.Time {
	for _, l := range [...]string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999-0700", "2006-01-02 15:04:05", "2006-01-02T15:04:05"} {
		if t, err := time.Parse(l, s); err == nil {
			return t.UTC()
		}
	}
	return time.Time{}
}

// hostOf takes the host with its port out of an address or CONNECT target.
func hostOf(s string) string {
	if i := strings.Index(s, "://"); i >= 0 {
		s = s[i+3:]
	}
	if i := strings.IndexAny(s, "/?#"); i >= 0 {
		s = s[:i]
	}
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		s = s[i+1:]
	}
	return s
}

// zeek reads a row of a Zeek log by the names of its fields.
func (r *Reader) zeek(row, fields []string) string {
	get := func(name string) string {
		for i, f := range fields {
			if f == name && i < len(row) && row[i] != "-" {
				return row[i]
			}
		}
		return ""
	}
	host, kind := get("query"), "dns"
	if host == "" {
		host, kind = get("server_name"), "proxy"
	}
	if host == "" {
		host = get("host")
	}
	var t time.Time
	if sec, _, ok := strings.Cut(get("ts"), "."); ok {
		var n int64
		if _, err := fmt.Sscan(sec, &n); err == nil {
			t = time.Unix(n, 0).UTC()
		}
	}
	r.host(kind, host, get("id.orig_h"), t)
	return "zeek"
}

// host counts a use if the host is one of a provider.
func (r *Reader) host(source, host, client string, at time.Time) {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "" {
		return
	}
	p, ok := r.memo[host]
	if !ok {
		name := host
		if h, port, err := net.SplitHostPort(host); err == nil && (port == "443" || port == "80") {
			name = h
		}
		p, _ = r.rows.Host("https://" + name)
		if name == "huggingface.co" || strings.HasSuffix(name, ".hf.co") || name == "cdn-lfs.huggingface.co" {
			p = "huggingface"
		}
		if len(r.memo) < 100_000 {
			r.memo[host] = p
		}
	}
	if p == "" {
		return
	}
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	r.use(Use{Provider: p, Host: host, Client: client, Source: source, First: at})
}

// use adds one use to its row.
func (r *Reader) use(u Use) {
	if u.Client != "" && !r.opts.Identities {
		h := hmac.New(sha256.New, r.opts.Key)
		h.Write([]byte(u.Client))
		u.Client = "client-" + hex.EncodeToString(h.Sum(nil)[:6])
	}
	k := useKey{u.Provider, u.Model, u.Host, u.Client, u.Source}
	have := r.uses[k]
	if have == nil {
		if len(r.uses) >= mostUses {
			k.client, u.Client = "", "others"
			k.client = u.Client
			have = r.uses[k]
		}
		if have == nil {
			u.Count, u.Last = 0, u.First
			c := u
			have = &c
			r.uses[k] = have
		}
	}
	have.Count++
	if !u.First.IsZero() {
		if have.First.IsZero() || u.First.Before(have.First) {
			have.First = u.First
		}
		if u.First.After(have.Last) {
			have.Last = u.First
		}
	}
}

// Report returns what was read so far, sorted. known tells whether a repository
// uses a provider's model; "" for the model asks for the provider alone. It may
// be nil.
func (r *Reader) Report(known func(provider, model string) bool) Report {
	rep := r.rep
	rep.Uses = make([]Use, 0, len(r.uses))
	for _, u := range r.uses {
		c := *u
		c.Shadow = known != nil && !known(c.Provider, c.Model)
		rep.Uses = append(rep.Uses, c)
	}
	slices.SortFunc(rep.Uses, func(a, b Use) int {
		return cmp.Or(-compareBool(a.Shadow, b.Shadow), -cmp.Compare(a.Count, b.Count), cmp.Compare(a.Provider, b.Provider), cmp.Compare(a.Model, b.Model), cmp.Compare(a.Host, b.Host), cmp.Compare(a.Client, b.Client), cmp.Compare(a.Source, b.Source))
	})
	return rep
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}
