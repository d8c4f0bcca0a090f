package cli

import (
	"fmt"
	"net/http"
	"net/url"
	"os"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/modelwarden/warden/internal/api"
)

const routeHelp = `FILE is one route in YAML or JSON, as under gateway.routes of the configuration, but without file paths:
credential is a name of gateway.credentials, ca is not possible, allow_private lies within gateway.private.

  name: support-chat
  model: team/chat@1
  upstream: http://10.0.0.7:8000/v1
  credential: vllm
  allow_private: [10.0.0.0/8]
  limits: [{per: identity, tokens: 50000/1m}]
  guard: {preset: standard}`

func newGatewayRoute(a *app) *cobra.Command {
	return group("route", "Routes that are added at run time", newRouteAdd(a), newRouteSet(a), newRouteShow(a), newRouteRemove(a))
}

const maxRouteFile = 64 << 10

// routeFile reads a route.
func routeFile(name string) (map[string]any, error) {
	st, err := os.Stat(name)
	if err != nil {
		return nil, usage("%w", err)
	}
	if st.Size() > maxRouteFile {
		return nil, usage("%s: %d bytes, at most %d", name, st.Size(), maxRouteFile)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, usage("%w", err)
	}
	var m map[string]any
	if err := yaml.Unmarshal(text, &m); err != nil {
		return nil, usage("%s: %s", name, yaml.FormatError(err, false, true))
	}
	if len(m) == 0 {
		return nil, usage("%s holds no route (hint: %s)", name, "warden gateway route add --help shows one")
	}
	return m, nil
}

func routePath(name string) string { return gatewayPath + "routes/" + url.PathEscape(name) }

func (a *app) printRoute(r api.StoredRouteBody, format string) error {
	if format == "json" {
		return printJSON(a.Stdout, r)
	}
	b, err := yaml.Marshal(r.Config)
	if err != nil {
		return err
	}
	state := "enabled"
	if r.Disabled {
		state = "disabled"
	}
	fmt.Fprintf(a.Stderr, "%s, revision %d by %s, %s\n", r.Name, r.Revision, r.By, state)
	_, err = a.Stdout.Write(b)
	return err
}

func newRouteAdd(a *app) *cobra.Command {
	var (
		format, file string
		disabled     bool
	)
	c := formatFlag(&cobra.Command{
		Use: "add -f FILE", Short: "Add a route; all gateways serve it within a second", Args: args(cobra.NoArgs), Long: routeHelp,
		RunE: func(c *cobra.Command, _ []string) error {
			if file == "" {
				return usage("-f is missing (hint: %s)", c.UseLine())
			}
			m, err := routeFile(file)
			if err != nil {
				return err
			}
			cl, err := a.client()
			if err != nil {
				return err
			}
			var r api.StoredRouteBody
			if err := cl.call(c.Context(), http.MethodPost, gatewayPath+"routes", map[string]any{"config": m, "disabled": disabled}, &r); err != nil {
				return err
			}
			return a.printRoute(r, format)
		},
	}, &format)
	c.Flags().StringVarP(&file, "file", "f", "", "the route, in YAML or JSON")
	c.Flags().BoolVar(&disabled, "disabled", false, "keep it, and do not serve it yet")
	return c
}

func newRouteSet(a *app) *cobra.Command {
	var (
		format, file    string
		disable, enable bool
		revision        int
	)
	c := formatFlag(&cobra.Command{
		Use: "set NAME", Short: "Replace, disable or enable a route", Args: args(cobra.ExactArgs(1)), Long: routeHelp,
		RunE: func(c *cobra.Command, x []string) error {
			if disable && enable || !disable && !enable && file == "" {
				return usage("give -f FILE, --disable or --enable")
			}
			in := map[string]any{}
			if file != "" {
				m, err := routeFile(file)
				if err != nil {
					return err
				}
				in["config"] = m
			}
			if disable || enable {
				in["disabled"] = disable
			}
			if revision > 0 {
				in["revision"] = revision
			}
			cl, err := a.client()
			if err != nil {
				return err
			}
			var r api.StoredRouteBody
			if err := cl.call(c.Context(), http.MethodPatch, routePath(x[0]), in, &r); err != nil {
				return err
			}
			return a.printRoute(r, format)
		},
	}, &format)
	c.Flags().StringVarP(&file, "file", "f", "", "the whole route, in YAML or JSON")
	c.Flags().BoolVar(&disable, "disable", false, "do not serve it")
	c.Flags().BoolVar(&enable, "enable", false, "serve it again")
	c.Flags().IntVar(&revision, "revision", 0, "fail if somebody changed it since this revision")
	return c
}

func newRouteShow(a *app) *cobra.Command {
	var format string
	return formatFlag(&cobra.Command{
		Use: "show NAME", Short: "Print a route that was added at run time", Args: args(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, x []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			var r api.StoredRouteBody
			if err := cl.call(c.Context(), http.MethodGet, routePath(x[0]), nil, &r); err != nil {
				return err
			}
			return a.printRoute(r, format)
		},
	}, &format)
}

func newRouteRemove(a *app) *cobra.Command {
	return &cobra.Command{Use: "remove NAME", Short: "Remove a route that was added at run time", Args: args(cobra.ExactArgs(1)), RunE: func(c *cobra.Command, x []string) error {
		cl, err := a.client()
		if err == nil {
			err = cl.call(c.Context(), http.MethodDelete, routePath(x[0]), nil, nil)
		}
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(a.Stdout, "removed %s\n", x[0])
		return err
	}}
}
