package register

import (
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/modelwarden/warden"
)

// A State says where a group of findings is in its life.
type State string

// The states. Fresh, Ongoing, Regressed and Resolved follow from what is seen;
// people resolve, ignore, accept, and say that something is false.
const (
	Fresh         State = "new"       // for a week, or until somebody takes it
	Ongoing       State = "ongoing"   //
	Regressed     State = "regressed" // it was resolved and is there again
	Resolved      State = "resolved"  // by a person, or it is not seen any more
	Ignored       State = "ignored"   // until the end of its [Ignore]
	Accepted      State = "accepted"  // the risk is
	FalsePositive State = "false_positive"
)

// States lists all.
func States() []State {
	return []State{Fresh, Regressed, Ongoing, Resolved, Ignored, Accepted, FalsePositive}
}

// Active reports whether somebody has to do something about it.
func (s State) Active() bool { return s == Fresh || s == Ongoing || s == Regressed }

// A Group is one weakness wherever it is: what one rule found for one cause at
// one kind of place. People handle it as one thing.
type Group struct {
	ID         string        `json:"id"` // from the fingerprint: the same weakness has the same id everywhere
	Rule       warden.RuleID `json:"rule"`
	Title      string        `json:"title"`
	Severity   string        `json:"severity"` // the worst of those there now
	Subject    string        `json:"subject"`  // kind: file, source, asset, traffic
	Place      string        `json:"place"`    // normalised
	Cause      string        `json:"cause"`
	Advice     string        `json:"advice,omitempty"`
	State      State         `json:"state"`
	Note       string        `json:"note,omitempty"` // why it is in that state
	Assignee   string        `json:"assignee,omitempty"`
	First      time.Time     `json:"first"`
	Last       time.Time     `json:"last"`  // when something found it last
	Count      int           `json:"count"` // occurrences now; 0: it is not seen any more
	Assets     []string      `json:"assets"`
	Where      []Occurrence  `json:"where"` // the most urgent ones
	Priority   int           `json:"priority"`
	Band       int           `json:"band"`    // 1 to 4
	Factors    []Factor      `json:"factors"` // of the most urgent occurrence
	Because    []string      `json:"because"` // of the decision table, where a file meets a loader
	Since      time.Time     `json:"since"`   // the clock of Due runs from here
	Due        time.Time     `json:"due,omitzero"`
	DueBy      string        `json:"due_by,omitempty"` // who set Due; "": the priority
	Until      *Ignore       `json:"until,omitempty"`
	Decided    time.Time     `json:"decided,omitzero"` // when the state was set
	Activity   []Activity    `json:"activity"`         // the newest last; the audit log has all
	Registered []int64       `json:"registered,omitempty"`
	Demo       bool          `json:"demo,omitempty"`
	Version    int           `json:"version"` // counts changes by people
}

// An Ignore ends by itself. The zero value never does.
type Ignore struct {
	Until    time.Time `json:"until,omitzero"`
	Count    int       `json:"count,omitempty"`    // when there are more occurrences than this
	Assets   int       `json:"assets,omitempty"`   // when there are more assets than this
	Severity string    `json:"severity,omitempty"` // when it is worse than this
}

// over says why the time of x is over, or "".
func (x *Ignore) over(g *Group, now time.Time) string {
	switch {
	case x == nil:
		return ""
	case !x.Until.IsZero() && !now.Before(x.Until):
		return "the date is reached"
	case x.Count > 0 && g.Count > x.Count:
		return fmt.Sprintf("there are %d", g.Count)
	case x.Assets > 0 && len(g.Assets) > x.Assets:
		return fmt.Sprintf("%d assets have it", len(g.Assets))
	case x.Severity != "" && rank(g.Severity) > rank(x.Severity):
		return "it is " + g.Severity
	}
	return ""
}

func rank(severity string) warden.Severity {
	s, err := warden.ParseSeverity(severity)
	if err != nil {
		return warden.Critical // what cannot be understood is not mild
	}
	return s
}

// An Activity is a step in the life of a group.
type Activity struct {
	At   time.Time `json:"at"`
	By   string    `json:"by"` // "": the platform
	What string    `json:"what"`
	Note string    `json:"note,omitempty"`
}

const (
	maxActivity = 100
	maxWhere    = 50
	maxIDs      = 500
	newFor      = 7 * 24 * time.Hour
)

func (g *Group) log(at time.Time, by, what, note string) {
	g.Activity = append(g.Activity, Activity{at, by, what, clip(note)})
	if len(g.Activity) > maxActivity {
		g.Activity = slices.Delete(g.Activity, 1, 1+len(g.Activity)-maxActivity) // the first stays
	}
}

// An Occurrence is one place of a group.
type Occurrence struct {
	Asset    string    `json:"asset,omitempty"`
	Place    string    `json:"place"`
	Digest   string    `json:"digest,omitempty"`
	Message  string    `json:"message"`
	Evidence string    `json:"evidence,omitempty"`
	Severity string    `json:"severity"`
	Source   string    `json:"source"`
	At       time.Time `json:"at"` // when it was found
	Priority int       `json:"priority"`

	rule           warden.RuleID
	subject, cause string
	norm           string
	title, advice  string
	factors        []Factor
	because        []string
	group          int64
	word, note     string
	demo           bool
}

var digits = regexp.MustCompile(`[0-9]+|0x[0-9a-fA-F]+`)

// plain makes texts equal that differ in numbers only.
func plain(s string) string {
	s = digits.ReplaceAllString(strings.ToLower(s), "#")
	if len(s) > 160 {
		s = s[:160]
	}
	return strings.ToValidUTF8(s, "?")
}

// placeOf normalises the place of a finding in a file: the innermost member's
// name, without the folders and numbers that differ from model to model.
func placeOf(path string) string {
	if i := strings.LastIndex(path, "!/"); i >= 0 {
		path = path[i+2:]
	}
	return plain(path[strings.LastIndex(path, "/")+1:])
}

// idOf is the fingerprint.
func (o *Occurrence) idOf() string {
	sum := warden.Sum([]byte(strings.Join([]string{string(o.rule), o.subject, o.norm, o.cause}, "\x00")))
	return "F-" + hex.EncodeToString(sum[:6])
}

// dueAfter is the time that a band leaves.
func dueAfter(band int) time.Duration {
	switch band {
	case 1:
		return 3 * 24 * time.Hour
	case 2:
		return 14 * 24 * time.Hour
	case 3:
		return 60 * 24 * time.Hour
	default:
		return 0
	}
}
