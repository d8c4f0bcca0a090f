package gateway

// A Source says who keeps a route.
type Source string

// The sources.
const (
	FromConfig Source = "config" // the configuration file
	FromStore  Source = "stored" // the database: administrators change it at run time
	FromDemo   Source = "demo"
)

// Check returns why a route cannot be served; nil: it can. Nothing is kept.
func (g *Gateway) Check(r Route) error {
	made, err := g.route(r)
	if err != nil {
		return err
	}
	made.close()
	return nil
}

// Running returns how many exchanges run in this process now.
func (g *Gateway) Running() int {
	g.load.mu.Lock()
	defer g.load.mu.Unlock()
	return g.load.all
}
