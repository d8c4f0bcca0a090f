package flow

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/modelwarden/warden/internal/source/syntax"
)

// defaultWork is how many nodes are looked at by default.
const defaultWork = 400_000_000

// An analysis is what one [Analyse] works with.
type analysis struct {
	g       *Graph
	lib     *Library
	opt     Options
	work    int
	done    <-chan struct{}
	why     func() error
	stopped error

	infos   []info
	vals    map[info]val
	objects map[objKey]*object
	frames  []*frame
	modules []*frame // by unit
	byNode  map[*syntax.Node]*frame
	classes map[*syntax.Node]*class
	comps   map[*syntax.Node]*scope
	sites   map[*syntax.Node]*siteRec
	queue   []*frame
	imports *importer
	groups  map[string]map[string]int // names of units that share them: which one has a name

	classList []*class
	extStars  map[*frame][]string // by module: the outside ones that it imports with *
	depth     int                 // of frames that run
	records   map[*frame]*record
	spans     map[int][]*frame // functions, by unit
	common    common
}

// common are values that are often needed.
type common struct {
	none, yes, no, text, number val
}

// A callee is what a site calls, while it is found out.
type callee struct {
	fr   *frame
	name string
	path string
	made *syntax.Node
	back bool
}

// A siteRec is a call, while it is found out.
type siteRec struct {
	fr      *frame
	run     int
	callees []callee
	open    bool // it may call something else
	settled bool // it calls no function at all
}

// Analyse reads the whole program. The same units in any order give the same
// graph. It always returns one; see [Graph.Incomplete].
func Analyse(ctx context.Context, units []Unit, lib *Library, opt Options) *Graph {
	us := slices.Clone(units)
	slices.SortStableFunc(us, func(x, y Unit) int {
		return cmp.Or(cmp.Compare(x.Name, y.Name), cmp.Compare(x.Path, y.Path))
	})
	if opt.Work <= 0 {
		opt.Work = defaultWork
	}
	g := &Graph{units: us, siteAt: map[*syntax.Node]int{}}
	a := &analysis{
		g: g, lib: lib, opt: opt, work: opt.Work, done: ctx.Done(), why: func() error { return context.Cause(ctx) },
		groups: map[string]map[string]int{}, vals: map[info]val{}, objects: map[objKey]*object{}, modules: make([]*frame, len(us)),
		byNode: map[*syntax.Node]*frame{}, classes: map[*syntax.Node]*class{}, comps: map[*syntax.Node]*scope{},
		sites: map[*syntax.Node]*siteRec{}, extStars: map[*frame][]string{}, records: map[*frame]*record{},
	}
	a.intern(info{})
	a.common = common{
		none: a.intern(info{kind: vNone}), yes: a.intern(info{kind: vBool, text: "True"}), no: a.intern(info{kind: vBool, text: "False"}),
		text: a.intern(info{kind: vPattern, text: "*"}), number: a.intern(info{kind: vNumber}),
	}
	g.a = a
	a.imports = newImporter(us)
	for i := range us {
		if us[i].Language == nil {
			us[i].Language = Python()
		}
		if us[i].File == nil {
			us[i].File = &syntax.File{}
		}
		a.bindUnit(i)
	}
	g.frames = a.frames
	a.solve()
	g.Incomplete = a.stopped
	g.collect()
	return g
}

// step counts work and reports whether the analysis may go on.
func (a *analysis) step() bool {
	if a.stopped != nil {
		return false
	}
	a.work--
	if a.work < 0 {
		a.stopped = fmt.Errorf("%w (%d nodes)", ErrLimit, a.opt.Work)
		return false
	}
	if a.work&4095 == 0 {
		select {
		case <-a.done:
			a.stopped = fmt.Errorf("the call graph is incomplete: %w", a.why())
			return false
		default:
		}
	}
	return true
}

// solve runs modules, then what waits, then what no one calls, until nothing
// changes.
func (a *analysis) solve() {
	for _, fr := range a.modules {
		fr.called = true
		if fr.runs == 0 {
			a.run(fr)
		}
	}
	a.drain()
	for i := 0; i < len(a.frames) && a.stopped == nil; i++ {
		if fr := a.frames[i]; !fr.called {
			a.callUnknown(fr)
			a.drain()
		}
	}
	a.drain()
}

// drain runs what waits.
func (a *analysis) drain() {
	for len(a.queue) > 0 && a.stopped == nil {
		fr := a.queue[0]
		a.queue = a.queue[1:]
		if fr.queued {
			a.run(fr)
		}
	}
}
