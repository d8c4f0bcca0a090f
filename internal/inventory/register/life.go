package register

import (
	"cmp"
	"slices"
	"time"
)

// live brings groups in line with what is there now, and returns the ids of
// those that changed.
func live(groups map[string]*Group, found []Occurrence, now time.Time) (changed []string) {
	byID := map[string][]Occurrence{}
	for _, o := range found {
		id := o.idOf()
		byID[id] = append(byID[id], o)
	}
	for id, os := range byID {
		g := groups[id]
		if g == nil {
			g = begin(id, os, now)
			groups[id] = g
			changed = append(changed, id)
			g.fill(os)
			g.settle(now)
			continue
		}
		before := *g
		before.Activity = slices.Clone(g.Activity)
		was := g.Count
		g.fill(os)
		g.move(was, os, now)
		g.settle(now)
		if !same(before, *g) {
			changed = append(changed, id)
		}
	}
	for id, g := range groups {
		if byID[id] != nil || g.Count == 0 {
			continue
		}
		g.Count = 0
		if g.State.Active() {
			g.State, g.Note, g.Decided = Resolved, "nothing finds it any more", now
			g.log(now, "", "resolved", g.Note)
		}
		g.settle(now)
		changed = append(changed, id)
	}
	slices.Sort(changed)
	return changed
}

// begin makes a group. What people said of it in the registry before holds.
func begin(id string, os []Occurrence, now time.Time) *Group {
	o := os[0]
	g := &Group{ID: id, Rule: o.rule, Title: o.title, Advice: o.advice, Subject: o.subject, Place: o.norm, Cause: o.cause, State: Fresh, First: now, Since: now, Version: 1}
	for _, x := range os {
		if x.At.Before(g.First) && !x.At.IsZero() {
			g.First, g.Since = x.At, x.At
		}
	}
	g.log(now, "", "new", "")
	if s := word(os); s != "" {
		g.State, g.Note, g.Decided = s, o.note, now
		g.log(now, "", string(s), o.note)
	}
	return g
}

// word returns the state that people gave all of the occurrences in the registry.
func word(os []Occurrence) State {
	out := State("")
	for _, o := range os {
		s := State("")
		switch o.word {
		case "accepted":
			s = Accepted
		case "false":
			s = FalsePositive
		}
		if s == "" || out != "" && s != out {
			return ""
		}
		out = s
	}
	return out
}

// fill takes over what is there now.
func (g *Group) fill(os []Occurrence) {
	slices.SortFunc(os, func(a, b Occurrence) int {
		return cmp.Or(cmp.Compare(b.Priority, a.Priority), cmp.Compare(rank(b.Severity), rank(a.Severity)), cmp.Compare(a.Asset, b.Asset), cmp.Compare(a.Source, b.Source), cmp.Compare(a.Place, b.Place))
	})
	top := os[0]
	g.Title, g.Advice = cmp.Or(top.title, g.Title), cmp.Or(top.advice, g.Advice)
	g.Count, g.Severity, g.Priority, g.Factors, g.Because = len(os), top.Severity, top.Priority, top.factors, top.because
	g.Demo, g.Assets, g.Registered = true, []string{}, nil
	for _, o := range os {
		if rank(o.Severity) > rank(g.Severity) {
			g.Severity = o.Severity
		}
		if o.At.After(g.Last) {
			g.Last = o.At
		}
		g.Demo = g.Demo && o.demo
		if o.Asset != "" && len(g.Assets) < maxIDs {
			g.Assets = append(g.Assets, o.Asset)
		}
		if o.group != 0 && len(g.Registered) < maxIDs {
			g.Registered = append(g.Registered, o.group)
		}
	}
	slices.Sort(g.Assets)
	slices.Sort(g.Registered)
	g.Assets, g.Registered = slices.Compact(g.Assets), slices.Compact(g.Registered)
	g.Where = slices.Clone(os[:min(len(os), maxWhere)])
	g.Band = BandOf(g.Priority)
}

// move changes the state by what is seen. was is how many there were before.
func (g *Group) move(was int, os []Occurrence, now time.Time) {
	found := slices.ContainsFunc(os, func(o Occurrence) bool { return o.At.After(g.Decided) })
	switch {
	case g.State == Resolved && (was == 0 || found):
		g.State, g.Note, g.Since, g.Decided, g.DueBy = Regressed, "seen again", now, now, ""
		g.log(now, "", "regressed", "seen again after it was resolved")
	case g.State == Ignored || g.State == Accepted && g.Until != nil:
		if why := g.Until.over(g, now); why != "" {
			g.log(now, "", "ongoing", string(g.State)+" no longer: "+why)
			g.State, g.Note, g.Until, g.Since, g.Decided, g.DueBy = Ongoing, why, nil, now, now, ""
		}
	case g.State == Fresh && now.Sub(g.First) > newFor, g.State == Regressed && now.Sub(g.Since) > newFor:
		g.State = Ongoing
	}
}

// settle sets the day until which something should have happened.
func (g *Group) settle(_ time.Time) {
	if g.DueBy != "" {
		return
	}
	g.Due = time.Time{}
	if d := dueAfter(g.Band); d > 0 && g.State.Active() {
		g.Due = g.Since.Add(d)
	}
}
