package register

import (
	"fmt"
	"math"
	"slices"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/source/sight"
)

// A Factor is one part of a priority, with why it is what it is.
type Factor struct {
	Name   string  `json:"name"`
	Value  float64 `json:"value"`
	Weight float64 `json:"weight"` // 0: it multiplies the whole
	Why    string  `json:"why"`
	Known  bool    `json:"known"` // false: nobody knows; 0.6 stands for it
}

// The weights of the sum; severity and control multiply it.
const (
	weightExploit  = 0.35
	weightReach    = 0.25
	weightExposure = 0.15
	weightData     = 0.15
	weightBusiness = 0.10
	unknown        = 0.6
	mostUnreached  = 20 // of a priority where reachability is disproved
)

// BandOf returns the band of a priority: 1 at 70 and above, 2 at 45, 3 at 20.
func BandOf(priority int) int {
	switch {
	case priority >= 70:
		return 1
	case priority >= 45:
		return 2
	case priority >= 20:
		return 3
	default:
		return 4
	}
}

// floorOf is the least priority of a band.
func floorOf(band int) int {
	switch band {
	case 1:
		return 70
	case 2:
		return 45
	case 3:
		return 20
	default:
		return 0
	}
}

// A loading is how a file, or what a finding is about, is used.
type loading struct {
	loads  string
	state  sight.State
	scope  sight.Scope
	pinned bool
	where  string
}

// circumstances are what a priority is made of.
type circumstances struct {
	severity warden.Severity
	exploit  Factor
	reach    Factor
	control  Factor
	asset    *Asset // nil: of none
	exposure string // that the machine knows, where no person said one
	table    int    // of the decision table, 1 to 5; 0: it does not apply
	because  []string
}

// weigh computes a priority of 0 to 100 with its factors.
func weigh(c circumstances) (priority int, factors []Factor, because []string) {
	severity := Factor{"severity", [...]float64{0.1, 0.25, 0.5, 0.8, 1}[c.severity], 0, c.severity.String(), true}
	var data []string
	exposure, from, criticality := c.exposure, "a gateway route leads to it", 0
	if c.asset != nil {
		if e := c.asset.Person.System.Exposure; e != "" {
			exposure, from = e, "said by a person"
		}
		data, criticality = c.asset.Person.System.Data, c.asset.Person.Criticality
	}
	x := notKnown("exposure", weightExposure)
	if v, ok := map[string]float64{"internet": 1, "partner": 0.6, "internal": 0.3, "none": 0}[exposure]; ok {
		x = Factor{"exposure", v, weightExposure, exposure + ", " + from, true}
	}
	d := notKnown("data", weightData)
	for _, s := range data {
		v := map[string]float64{"special_category": 1, "health": 1, "credentials": 1, "personal": unknown, "payment": unknown, "children": unknown, "internal": 0.3}[s]
		if !d.Known || v > d.Value {
			d = Factor{"data", v, weightData, s, true}
		}
	}
	b := notKnown("business", weightBusiness)
	if criticality > 0 {
		b = Factor{"business", [...]float64{0, 0, 0.3, 0.6, 1}[criticality], weightBusiness, fmt.Sprintf("criticality %d of 4", criticality), true}
	}
	if c.control.Name == "" {
		c.control = Factor{"control", 1, 0, "no control is known", true}
	}
	c.exploit.Name, c.exploit.Weight = "exploitability", weightExploit
	c.reach.Name, c.reach.Weight = "reachability", weightReach
	factors = []Factor{severity, c.exploit, c.reach, x, d, b, c.control}
	sum := 0.0
	for _, f := range factors {
		sum += f.Weight * f.Value
	}
	priority = int(math.Round(100 * severity.Value * sum * c.control.Value))
	if c.reach.Known && c.reach.Value == 0 && priority > mostUnreached {
		priority = mostUnreached
		because = append(because, fmt.Sprintf("at most %d: it cannot be reached", mostUnreached))
	}
	if c.table > 0 {
		band := min(c.table, 4)
		because = append(slices.Clone(c.because), because...)
		because = append(because, fmt.Sprintf("file meets loader: row %d of the decision table, at least P%d", c.table, band))
		if floor := floorOf(band); priority < floor { // the formula orders inside the band
			width := map[int]int{1: 30, 2: 24, 3: 24, 4: 19}[band]
			priority = floor + priority*width/100
		}
	}
	return min(priority, 100), factors, because
}

func notKnown(name string, weight float64) Factor {
	return Factor{name, unknown, weight, "not known", false}
}

// reachOf turns a state of use into a factor.
func reachOf(state sight.State, where string) Factor {
	why := string(state)
	if where != "" {
		why += " at " + where
	}
	switch state {
	case sight.Reachable:
		return Factor{Value: 1, Why: why, Known: true}
	case sight.Possible, sight.ConfigOnly:
		return Factor{Value: 0.6, Why: why, Known: true}
	case sight.Inactive, sight.Commented:
		return Factor{Value: 0.3, Why: why, Known: true}
	case sight.Unreachable:
		return Factor{Value: 0, Why: why, Known: true}
	default:
		return Factor{Value: unknown, Why: "not known"}
	}
}
