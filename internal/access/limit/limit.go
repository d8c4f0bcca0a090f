// Package limit says how much each caller may use: requests, tokens, rows,
// money and open streams, for each identity, group, key or route, or over all.
//
// What is counted in a short window is never above its limit in any interval of
// the window's length: sixty buckets are counted over sixty-one, so an interval
// that begins inside a bucket is covered too. Requests with a burst follow GCRA
// (ITU-T I.371), whose meaning differs: it admits burst + rate × t in any
// interval t. Budgets of a day or a month hold for the calendar's, in UTC.
//
// Nothing is checked without being taken: [Limiter.Reserve] takes the most that
// an exchange may use, [Reservation.Settle] replaces that by what it used.
package limit

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ErrRule is wrapped by errors about rules that cannot hold.
var ErrRule = errors.New("invalid limit")

// A Scope says whose use is counted together.
type Scope string

// The scopes.
const (
	PerIdentity Scope = "identity" // the principal
	PerGroup    Scope = "group"    // each group that the principal is in
	PerKey      Scope = "key"
	PerRoute    Scope = "route" // everybody's use of one route
	PerAll      Scope = "all"   // everybody's, of all routes that the rule is for
)

// A Unit is what is counted.
type Unit string

// The units.
const (
	Requests Unit = "requests"
	Tokens   Unit = "tokens"  // in and out
	Rows     Unit = "rows"    // of classifiers' batches
	Money    Unit = "money"   // millionths of the currency that prices are in
	Streams  Unit = "streams" // exchanges that run at once; has no window
)

// Units returns the units in the order in which they are taken.
func Units() []Unit { return []Unit{Streams, Requests, Tokens, Rows, Money} }

// Calendar windows.
const (
	Day   = "day"
	Month = "month"
)

// A Rule is one limit.
type Rule struct {
	Route  string // of one route; "": of all
	Per    Scope
	Only   string // the one identity, group or key that it is for; "": each by itself
	Unit   Unit
	Amount int64
	Window time.Duration // sliding; zero for Calendar and for Streams
	// Calendar is Day or Month instead of Window, or "".
	Calendar string
	// Burst makes Requests follow GCRA with this burst; 0: a sliding window.
	Burst int64
	// Soft says that what cannot be counted together with other replicas is
	// counted here alone, for a third of Amount; without it, it is refused.
	Soft bool

	id string // name, once the rule is in a Limiter
}

// Text returns the rule as people write it: "per identity: 100 tokens/1m0s".
func (r Rule) Text() string {
	who := "per " + string(r.Per)
	if r.Only != "" {
		who = string(r.Per) + " " + r.Only
	}
	amount := strconv.FormatInt(r.Amount, 10)
	if r.Unit == Money {
		amount = strconv.FormatFloat(float64(r.Amount)/1e6, 'f', -1, 64)
	}
	text := fmt.Sprintf("%s: %s %s", who, amount, r.Unit)
	switch {
	case r.Unit == Streams:
	case r.Calendar != "":
		text += "/" + r.Calendar
	default:
		text += "/" + r.Window.String()
	}
	if r.Burst > 0 {
		text += fmt.Sprintf(", burst %d", r.Burst)
	}
	return text
}

// Length is that of the rule's window, of a month the longest; 0 without one.
func (r Rule) Length() time.Duration {
	switch r.Calendar {
	case Day:
		return 24 * time.Hour
	case Month:
		return 31 * 24 * time.Hour
	}
	return r.Window
}

// name tells the rule from all others, in every replica alike.
func (r Rule) name() string {
	if r.id != "" {
		return r.id
	}
	return strings.Join([]string{r.Route, string(r.Per), r.Only, string(r.Unit), r.Window.String(), r.Calendar}, "|")
}

// Bounds of rules.
const (
	MinWindow = time.Second
	MaxWindow = 24 * time.Hour
	maxAmount = math.MaxInt64 / 4
	maxRules  = 1000
)

func (r Rule) check() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", ErrRule, fmt.Sprintf(format, args...))
	}
	switch {
	case !slices.Contains([]Scope{PerIdentity, PerGroup, PerKey, PerRoute, PerAll}, r.Per):
		return bad("per %q: want identity, group, key, route or all", r.Per)
	case r.Only != "" && (r.Per == PerRoute || r.Per == PerAll):
		return bad("per %s names one %q: only an identity, group or key can be named", r.Per, r.Only)
	case !slices.Contains(Units(), r.Unit):
		return bad("unit %q: want requests, tokens, rows, money or streams", r.Unit)
	case r.Amount < 0 || r.Amount > maxAmount:
		return bad("%d %s: want 0 to %d", r.Amount, r.Unit, int64(maxAmount))
	case r.Unit == Streams && (r.Window != 0 || r.Calendar != ""):
		return bad("streams that run at once have no window")
	case r.Unit != Streams && r.Calendar == "" && (r.Window < MinWindow || r.Window > MaxWindow):
		return bad("window %v: want %v to %v, or day or month", r.Window, MinWindow, MaxWindow)
	case r.Calendar != "" && (r.Window != 0 || r.Calendar != Day && r.Calendar != Month):
		return bad("window %q: want a duration, day or month", cmp.Or(r.Calendar, r.Window.String()))
	case r.Burst < 0 || r.Burst > 0 && (r.Unit != Requests || r.Window == 0 || r.Amount == 0):
		return bad("a burst belongs to requests in a window")
	}
	return nil
}

// ParseAmount reads "600/1m", "5.50/day" or, for streams, "20". Money may have
// six digits after the point.
func ParseAmount(u Unit, text string) (amount int64, window time.Duration, calendar string, err error) {
	bad := func(why string) error {
		return fmt.Errorf("%w: %s %q: %s", ErrRule, u, text, why)
	}
	number, per, found := strings.Cut(strings.TrimSpace(text), "/")
	if amount, err = parseNumber(u, number); err != nil {
		return 0, 0, "", bad(err.Error())
	}
	switch {
	case u == Streams && found:
		return 0, 0, "", bad("streams that run at once have no window; write a number")
	case u == Streams:
		return amount, 0, "", nil
	case !found:
		return 0, 0, "", bad(`write it with its window, as in "600/1m" or "1000000/day"`)
	case per == Day || per == Month:
		return amount, 0, per, nil
	}
	if window, err = time.ParseDuration(per); err != nil {
		return 0, 0, "", bad("the window is neither a duration such as 1m nor day or month")
	}
	return amount, window, "", nil
}

func parseNumber(u Unit, text string) (int64, error) {
	whole, part, dot := strings.Cut(text, ".")
	if dot && (u != Money || part == "" || len(part) > 6 || strings.Trim(part, "0123456789") != "") {
		return 0, errors.New("only money has a fraction, of at most six digits")
	}
	n, err := strconv.ParseUint(whole, 10, 62)
	if err != nil {
		return 0, errors.New("it does not begin with a whole number")
	}
	if u == Money {
		frac, err := strconv.ParseUint((part + "000000")[:6], 10, 62)
		if err != nil || n > maxAmount/1_000_000 {
			return 0, errors.New("it is too large")
		}
		n = n*1_000_000 + frac
	}
	return int64(n), nil
}
