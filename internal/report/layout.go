package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// The measures of a drawn graph, in pixels of SVG.
const (
	nodeWide, nodeHigh = 210, 36
	layerGap, rowGap   = 90, 12
	bendHigh           = 8   // room for a line that passes a layer
	nodesDrawn         = 140 // more are left to the table
	bendsDrawn         = 2000
)

// A drawing is a graph in layers, from what uses to what is used.
type drawing struct {
	Width, Height int
	Nodes         []drawnNode
	Edges         []drawnEdge
	Left          int // assets that did not fit
}

type drawnNode struct {
	X, Y, Wide, High   int
	ID, Label, Kind    string
	Title, State, Sub  string
	TextX, TextY, SubY int
	Bad                bool
}

type drawnEdge struct{ Path, Title string }

// A vertex is a node or, with node -1, the bend of an edge that passes a layer.
type vertex struct {
	node, layer int
	y           float64
}

// layered puts a directed graph in layers after Sugiyama, Tagawa and Toda (1981):
// turn edges that close cycles, give each node the length of the longest path
// to it, split long edges by bends, order the layers by barycentres and keep the
// order with the fewest crossings. It is the same for the same input.
type layered struct {
	count    int
	edges    [][2]int
	turned   []bool
	vertices []vertex
	chains   [][]int // per edge: vertices from source to target
	layers   [][]int // vertices of each layer, in order
}

func layOut(count int, edges [][2]int) *layered {
	g := &layered{count: count, edges: edges, turned: make([]bool, len(edges))}
	g.turnCycles()
	g.rank()
	g.bend()
	g.order()
	return g
}

// turnCycles marks the edges that a walk finds to lead back to where it came from.
func (g *layered) turnCycles() {
	out := make([][]int, g.count)
	for i, e := range g.edges {
		out[e[0]] = append(out[e[0]], i)
	}
	state := make([]int, g.count) // 0 not seen, 1 on the walk, 2 done
	type step struct{ node, next int }
	for start := range g.count {
		if state[start] != 0 {
			continue
		}
		walk := []step{{start, 0}}
		state[start] = 1
		for len(walk) > 0 {
			s := &walk[len(walk)-1]
			if s.next == len(out[s.node]) {
				state[s.node] = 2
				walk = walk[:len(walk)-1]
				continue
			}
			e := out[s.node][s.next]
			s.next++
			switch to := g.edges[e][1]; state[to] {
			case 0:
				state[to] = 1
				walk = append(walk, step{to, 0})
			case 1:
				g.turned[e] = true
			}
		}
	}
}

// ends returns an edge in the direction that has no cycles.
func (g *layered) ends(e int) (from, to int) {
	if g.turned[e] {
		return g.edges[e][1], g.edges[e][0]
	}
	return g.edges[e][0], g.edges[e][1]
}

func (g *layered) rank() {
	layer, waiting := make([]int, g.count), make([]int, g.count)
	out := make([][]int, g.count)
	for e := range g.edges {
		from, to := g.ends(e)
		out[from] = append(out[from], to)
		waiting[to]++
	}
	var ready []int
	for i := range g.count {
		if waiting[i] == 0 {
			ready = append(ready, i)
		}
	}
	for len(ready) > 0 {
		i := ready[0]
		ready = ready[1:]
		for _, to := range out[i] {
			layer[to] = max(layer[to], layer[i]+1)
			if waiting[to]--; waiting[to] == 0 {
				ready = append(ready, to)
			}
		}
	}
	for i := range g.count {
		g.vertices = append(g.vertices, vertex{node: i, layer: layer[i]})
	}
}

func (g *layered) bend() {
	bends := 0
	for e := range g.edges {
		from, to := g.ends(e)
		chain := []int{from}
		for l := g.vertices[from].layer + 1; l < g.vertices[to].layer && bends < bendsDrawn; l++ {
			chain = append(chain, len(g.vertices))
			g.vertices = append(g.vertices, vertex{node: -1, layer: l})
			bends++
		}
		g.chains = append(g.chains, append(chain, to))
	}
	for i, v := range g.vertices {
		for len(g.layers) <= v.layer {
			g.layers = append(g.layers, nil)
		}
		g.layers[v.layer] = append(g.layers[v.layer], i)
	}
}

// order sweeps over the layers, puts each vertex at the mean of its neighbours,
// and keeps the best order that it saw.
func (g *layered) order() {
	const sweeps = 8
	near := [2][][]int{make([][]int, len(g.vertices)), make([][]int, len(g.vertices))} // in the layer before, after
	for _, c := range g.chains {
		for i := 1; i < len(c); i++ {
			near[0][c[i]] = append(near[0][c[i]], c[i-1])
			near[1][c[i-1]] = append(near[1][c[i-1]], c[i])
		}
	}
	at := make([]float64, len(g.vertices))
	number := func() {
		for _, l := range g.layers {
			for i, v := range l {
				at[v] = float64(i)
			}
		}
	}
	number()
	best, fewest := g.copyLayers(), g.crossings(near[1], at)
	for s := range sweeps {
		side := s % 2
		for k := range g.layers {
			l := g.layers[k]
			if side == 1 {
				l = g.layers[len(g.layers)-1-k]
			}
			mean := make(map[int]float64, len(l))
			for _, v := range l {
				mean[v] = at[v]
				if list := near[side][v]; len(list) > 0 {
					sum := 0.0
					for _, n := range list {
						sum += at[n]
					}
					mean[v] = sum / float64(len(list))
				}
			}
			slices.SortStableFunc(l, func(a, b int) int { return cmp.Compare(mean[a], mean[b]) })
			for i, v := range l {
				at[v] = float64(i)
			}
		}
		if n := g.crossings(near[1], at); n < fewest {
			best, fewest = g.copyLayers(), n
		}
	}
	g.layers = best
}

func (g *layered) copyLayers() [][]int {
	out := make([][]int, len(g.layers))
	for i, l := range g.layers {
		out[i] = slices.Clone(l)
	}
	return out
}

// crossings counts pairs of lines between two layers that cross. Above a size
// it looks at the first ones only: it steers, no more.
func (g *layered) crossings(after [][]int, at []float64) int {
	const most = 400
	n := 0
	for _, l := range g.layers {
		var lines [][2]float64
		for _, v := range l {
			for _, to := range after[v] {
				if len(lines) < most {
					lines = append(lines, [2]float64{at[v], at[to]})
				}
			}
		}
		for i, a := range lines {
			for _, b := range lines[i+1:] {
				if (a[0]-b[0])*(a[1]-b[1]) < 0 {
					n++
				}
			}
		}
	}
	return n
}

// place gives vertices their heights and returns the size of the whole. Each
// layer is centred.
func (g *layered) place() (wide, high int) {
	heights := make([]int, len(g.layers))
	for i, l := range g.layers {
		for _, v := range l {
			heights[i] += g.high(v) + rowGap
		}
		high = max(high, heights[i])
	}
	for i, l := range g.layers {
		y := (high - heights[i]) / 2
		for _, v := range l {
			g.vertices[v].y = float64(y) + float64(g.high(v))/2
			y += g.high(v) + rowGap
		}
	}
	return len(g.layers)*(nodeWide+layerGap) - layerGap, high
}

func (g *layered) high(v int) int {
	if g.vertices[v].node < 0 {
		return bendHigh
	}
	return nodeHigh
}

// line draws the edge through its bends.
func (g *layered) line(e int) string {
	const margin = 8
	var b strings.Builder
	chain := g.chains[e]
	x := func(v int) int { return margin + g.vertices[v].layer*(nodeWide+layerGap) }
	px, py := x(chain[0])+nodeWide, int(g.vertices[chain[0]].y)+margin
	fmt.Fprintf(&b, "M%d %d", px, py)
	for _, v := range chain[1:] {
		nx, ny := x(v), int(g.vertices[v].y)+margin
		mid := (px + nx) / 2
		fmt.Fprintf(&b, "C%d %d %d %d %d %d", mid, py, mid, ny, nx, ny)
		if g.vertices[v].node < 0 {
			nx += nodeWide
			fmt.Fprintf(&b, "L%d %d", nx, ny)
		}
		px, py = nx, ny
	}
	return b.String()
}

// draw lays the inventory's graph out: the application, what hangs on it, and
// what that uses.
func (n *Inventory) draw() drawing {
	d := drawing{}
	shown := n.drawn()
	for i := range n.Assets {
		if n.Assets[i].Kind != "assistant" {
			d.Left++
		}
	}
	d.Left -= len(shown)
	index := map[string]int{rootRef: 0}
	nodes := []drawnNode{{ID: "", Label: n.Name, Kind: "application", Sub: "application", Title: n.Name}}
	for _, i := range shown {
		a := &n.Assets[i]
		index[a.ID] = len(nodes)
		sub := strings.ReplaceAll(a.Kind, "_", " ")
		if a.Provider != "" && a.Kind != "provider" {
			sub += " · " + a.Provider
		}
		nodes = append(nodes, drawnNode{
			ID: anchor(i), Label: cut(a.Label(), 27), Kind: a.Kind, State: a.State, Sub: cut(sub, 32), Bad: a.urgent(),
			Title: a.Label() + "\n" + sub + "\n" + strings.ReplaceAll(a.State, "_", " "),
		})
	}
	var edges [][2]int
	var titles []string
	add := func(from, to, kind string) {
		a, ok := index[from]
		b, ok2 := index[to]
		if ok && ok2 && a != b && !slices.Contains(edges, [2]int{a, b}) {
			edges = append(edges, [2]int{a, b})
			titles = append(titles, nodes[a].Label+" "+strings.ReplaceAll(kind, "_", " ")+" "+nodes[b].Label)
		}
	}
	b := bom{n: n}
	for _, id := range *b.dependencies()[0].Dependencies {
		add(rootRef, id, "uses")
	}
	for _, l := range n.Links {
		add(l.From, l.To, l.Kind)
	}
	g := layOut(len(nodes), edges)
	const margin = 8
	d.Width, d.Height = g.place()
	d.Width, d.Height = d.Width+2*margin, d.Height+2*margin
	for i := range nodes {
		v := g.vertices[i]
		k := &nodes[i]
		k.X, k.Y = margin+v.layer*(nodeWide+layerGap), margin+int(v.y)-nodeHigh/2
		k.Wide, k.High = nodeWide, nodeHigh
		k.TextX, k.TextY, k.SubY = k.X+12, k.Y+15, k.Y+29
	}
	d.Nodes = nodes
	for e := range edges {
		d.Edges = append(d.Edges, drawnEdge{Path: g.line(e), Title: titles[e]})
	}
	return d
}

// drawn picks the assets of the drawing: all, or those that are used and linked
// where there are too many.
func (n *Inventory) drawn() []int {
	linked := map[string]bool{}
	for _, l := range n.Links {
		linked[l.From], linked[l.To] = true, true
	}
	weight := func(i int) int {
		a := &n.Assets[i]
		w := 0
		for _, x := range []bool{a.State == "reachable", linked[a.ID], a.urgent(), a.Scope == "production"} {
			if x {
				w--
			}
		}
		return w
	}
	var all []int
	for i := range n.Assets {
		if n.Assets[i].Kind != "assistant" { // they write the application, it does not use them
			all = append(all, i)
		}
	}
	if len(all) > nodesDrawn {
		slices.SortStableFunc(all, func(a, b int) int { return cmp.Compare(weight(a), weight(b)) })
		all = all[:nodesDrawn]
		slices.Sort(all)
	}
	return all
}

// urgent reports whether something about the asset should be done soon.
func (a *Asset) urgent() bool {
	if a.Priority > 0 && a.Priority <= 2 {
		return true
	}
	return slices.ContainsFunc(a.Uses, func(u Use) bool { return u.Priority > 0 && u.Priority <= 2 })
}

func anchor(i int) string { return fmt.Sprintf("a%d", i) }
