// Package hub reads snapshots of a model hub's metadata and makes scores of
// them. A snapshot is a file of JSON lines, one model each, in the form in which
// the Hub's API describes a model; nothing here opens a connection.
//
// Scores inform, from 0 to 10. Each is the mean of its known factors: a factor of
// which the snapshot says nothing is left out, never counted as zero.
package hub

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// The limits of a snapshot.
const (
	lineBytes  = 4 << 20 // of one model; the largest list of files stays far below
	modelsMost = 2_000_000
)

// ErrSnapshot is wrapped by [Read] for a file that is no snapshot.
var ErrSnapshot = errors.New("not a snapshot of a hub")

// A Snapshot holds what a hub said of models.
type Snapshot struct {
	Taken  time.Time // the latest time that a model names; ages count from it
	models map[string]*Model
}

// A Model is what a hub says of one model. A nil pointer or slice is unknown.
type Model struct {
	ID           string       `json:"id"`
	SHA          string       `json:"sha,omitempty"`
	Author       string       `json:"author,omitempty"`
	Downloads    *int64       `json:"downloads,omitempty"`
	Likes        *int64       `json:"likes,omitempty"`
	LastModified *time.Time   `json:"lastModified,omitempty"`
	CreatedAt    *time.Time   `json:"createdAt,omitempty"`
	Tags         []string     `json:"tags"` // null: unknown
	Spaces       []string     `json:"spaces,omitempty"`
	Derived      *int64       `json:"childrenModelCount,omitempty"`
	Gated        *string      `json:"gated,omitempty"` // false, auto, manual
	AuthorData   *Author      `json:"authorData,omitempty"`
	Discussions  []Discussion `json:"discussions,omitempty"`
	Releases     []string     `json:"releases,omitempty"` // names of tags
	License      *string      `json:"license,omitempty"`  // "": the card names none
	Card         []string     `json:"card,omitempty"`     // fields that the card has
	HasCard      bool         `json:"hasCard,omitempty"`  // the card was looked at
	Files        []string     `json:"files,omitempty"`    // paths in the repository
	AutoMap      *bool        `json:"autoMap,omitempty"`  // the configuration names code to run
}

// An Author is who published a model.
type Author struct {
	Type     string `json:"type"` // org or user
	Verified bool   `json:"isVerified"`
}

// A Discussion is one thread or pull request of a model.
type Discussion struct {
	Created time.Time `json:"createdAt"`
}

// Len is the number of models.
func (s *Snapshot) Len() int { return len(s.models) }

// Model returns what the snapshot says of a model, nil for nothing. Case does
// not count, as on the hub.
func (s *Snapshot) Model(id string) *Model { return s.models[strings.ToLower(id)] }

// Read reads a snapshot: JSON lines, or one JSON array, of the Hub's
// descriptions or of those that [Snapshot.Write] wrote. Of two descriptions of
// a model the later one counts. Fields of an unexpected type are unknown; a
// line that is no object with an id is an error that names it.
func Read(ctx context.Context, r io.Reader) (*Snapshot, error) {
	s := &Snapshot{models: map[string]*Model{}}
	in := bufio.NewReaderSize(r, 64<<10)
	for line := 1; ; line++ {
		if line%256 == 1 && ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		text, err := readLine(in)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		if text = bytes.Trim(text, " \t\r\n,"); len(text) > 0 && !bytes.Equal(text, []byte("[")) && !bytes.Equal(text, []byte("]")) {
			if err := s.add(text); err != nil {
				return nil, fmt.Errorf("line %d: %w", line, err)
			}
		}
		if errors.Is(err, io.EOF) {
			return s, nil
		}
	}
}

// readLine reads one line of at most lineBytes.
func readLine(in *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		if len(line)+len(part) > lineBytes {
			return nil, fmt.Errorf("%w: a line of more than %d MiB (hint: one model per line)", ErrSnapshot, lineBytes>>20)
		}
		line = append(line, part...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

func (s *Snapshot) add(text []byte) error {
	if text[0] == '[' { // a whole list in one line
		var list []json.RawMessage
		if err := json.Unmarshal(text, &list); err != nil {
			return fmt.Errorf("%w: %w", ErrSnapshot, err)
		}
		for _, m := range list {
			if len(m) == 0 || m[0] == '[' {
				return fmt.Errorf("%w: a list in a list", ErrSnapshot)
			}
			if err := s.add(m); err != nil {
				return err
			}
		}
		return nil
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(text, &raw); err != nil {
		return fmt.Errorf("%w: %w (hint: JSON lines of the Hub's description of models)", ErrSnapshot, err)
	}
	m := parse(raw)
	if m.ID == "" {
		return fmt.Errorf("%w: a model without id", ErrSnapshot)
	}
	if len(s.models) >= modelsMost {
		return fmt.Errorf("%w: more than %d models", ErrSnapshot, modelsMost)
	}
	s.models[strings.ToLower(m.ID)] = m
	for _, t := range []*time.Time{m.LastModified, m.CreatedAt} {
		if t != nil && t.After(s.Taken) {
			s.Taken = *t
		}
	}
	return nil
}

// Write writes the snapshot in a form that [Read] takes, sorted by id and
// without what no score needs.
func (s *Snapshot) Write(w io.Writer) error {
	out := bufio.NewWriter(w)
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	ids := make([]string, 0, len(s.models))
	for id := range s.models {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		if err := enc.Encode(s.models[id]); err != nil {
			return err
		}
	}
	return out.Flush()
}

// parse takes from a description what is of the expected type.
func parse(raw map[string]json.RawMessage) *Model {
	m := &Model{}
	get := func(name string, to any) bool {
		v, ok := raw[name]
		return ok && string(v) != "null" && json.Unmarshal(v, to) == nil
	}
	get("id", &m.ID)
	if m.ID == "" {
		get("modelId", &m.ID)
	}
	get("sha", &m.SHA)
	get("author", &m.Author)
	if m.Author == "" {
		m.Author, _, _ = strings.Cut(m.ID, "/")
	}
	m.Downloads, m.Likes, m.Derived = count(get, "downloads"), count(get, "likes"), count(get, "childrenModelCount")
	m.LastModified, m.CreatedAt = date(get, "lastModified"), date(get, "createdAt")
	get("tags", &m.Tags)
	get("spaces", &m.Spaces)
	get("releases", &m.Releases)
	get("discussions", &m.Discussions)
	m.Gated = gated(raw["gated"])
	var author Author
	if get("authorData", &author) {
		m.AuthorData = &author
	}
	m.card(get)
	var siblings []struct {
		Name string `json:"rfilename"`
	}
	if get("siblings", &siblings) {
		m.Files = []string{}
		for _, f := range siblings {
			m.Files = append(m.Files, f.Name)
		}
	} else {
		get("files", &m.Files)
	}
	var config struct {
		AutoMap json.RawMessage `json:"auto_map"`
	}
	var auto bool
	switch {
	case get("config", &config):
		auto = len(config.AutoMap) > 0
		m.AutoMap = &auto
	case get("autoMap", &auto):
		m.AutoMap = &auto
	}
	return m
}

func count(get func(string, any) bool, name string) *int64 {
	var n int64
	if !get(name, &n) || n < 0 {
		return nil
	}
	return &n
}

func date(get func(string, any) bool, name string) *time.Time {
	var t time.Time
	if !get(name, &t) || t.Year() < 2000 {
		return nil
	}
	t = t.UTC()
	return &t
}

// gated reads false, "auto" or "manual".
func gated(v json.RawMessage) *string {
	var word string
	var yes bool
	switch {
	case len(v) == 0 || string(v) == "null":
		return nil
	case json.Unmarshal(v, &word) == nil:
	case json.Unmarshal(v, &yes) == nil && yes:
		word = "manual"
	case string(v) == "false":
		word = "false"
	default:
		return nil
	}
	return &word
}

// cardFields are the fields of a card that say how a model was made and what it
// is for.
var cardFields = [...]string{"base_model", "datasets", "model-index", "language", "pipeline_tag", "library_name"}

// card reads the front matter of the model's card.
func (m *Model) card(get func(string, any) bool) {
	var card map[string]json.RawMessage
	if !get("cardData", &card) {
		get("card", &m.Card)
		get("hasCard", &m.HasCard)
		var license string
		if get("license", &license) {
			m.License = &license
		}
		return
	}
	m.HasCard = true
	for _, f := range cardFields {
		if v := string(card[f]); v != "" && v != "null" && v != `""` && v != "[]" && v != "{}" {
			m.Card = append(m.Card, f)
		}
	}
	var task string
	if get("pipeline_tag", &task) && task != "" && !slices.Contains(m.Card, "pipeline_tag") {
		m.Card = append(m.Card, "pipeline_tag")
	}
	var license string
	if json.Unmarshal(card["license"], &license) != nil {
		var many []string
		if json.Unmarshal(card["license"], &many) == nil && len(many) > 0 {
			license = many[0]
		}
	}
	license = cmp.Or(license, tagged(m.Tags, "license:"))
	m.License = &license
}

// tagged returns what follows a prefix in the tags.
func tagged(tags []string, prefix string) string {
	for _, t := range tags {
		if v, ok := strings.CutPrefix(t, prefix); ok {
			return v
		}
	}
	return ""
}
