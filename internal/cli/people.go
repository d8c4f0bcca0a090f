package cli

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

type user struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	Mail     string    `json:"mail"`
	Person   string    `json:"person"`
	Disabled bool      `json:"disabled"`
	Seen     time.Time `json:"seen"`
	Roles    []string  `json:"roles"`
	Groups   []string  `json:"groups"`
}

type userGroup struct {
	Name    string   `json:"name"`
	Note    string   `json:"note"`
	Roles   []string `json:"roles"`
	Members []string `json:"members"`
}

const rolesHelp = "Roles: admin, security (quarantine), engineer (push), reader (download), client (query the gateway).\n" +
	"A role may hold for some namespaces only: engineer@team-a or engineer@team-a,lab/chat-*."

func newUser(a *app) *cobra.Command {
	return group("user", "People who may sign in", newUserList(a), newUserAdd(a), newUserRoles(a), newUserLink(a),
		newUserSwitch(a, "disable", "Disable a user; their sessions and keys end at once", true),
		newUserSwitch(a, "enable", "Enable a user again", false))
}

func newUserList(a *app) *cobra.Command {
	var format string
	return formatFlag(&cobra.Command{Use: "list", Short: "List users with their roles and groups", Args: args(cobra.NoArgs), RunE: func(c *cobra.Command, _ []string) error {
		cl, err := a.client()
		if err != nil {
			return err
		}
		us, err := all[user](c.Context(), cl, "/api/v1/users", nil, 0)
		if err != nil {
			return err
		}
		if format == "json" {
			return printJSON(a.Stdout, us)
		}
		t := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "ID\tNAME\tMAIL\tROLES\tGROUPS\tSTATE\tPERSON")
		for _, u := range us {
			state := "enabled"
			if u.Disabled {
				state = "disabled"
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", u.ID, cmp.Or(u.Name, "-"), cmp.Or(u.Mail, "-"), cmp.Or(strings.Join(u.Roles, " "), "-"), cmp.Or(strings.Join(u.Groups, " "), "-"), state, cmp.Or(u.Person, "-"))
		}
		return t.Flush()
	}}, &format)
}

func newUserAdd(a *app) *cobra.Command {
	var (
		name, mail string
		roles      []string
	)
	c := &cobra.Command{
		Use: "add USER", Short: "Make a person known before they first sign in", Args: args(cobra.ExactArgs(1)),
		Long: rolesHelp + "\nWho signs in with an identity provider that verified this mail address is this user.\n\n" +
			"  warden access user add user:ann --mail ann@example.com --role engineer@team-a",
		RunE: func(c *cobra.Command, x []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			var u user
			in := map[string]any{"id": x[0], "name": name, "mail": mail, "roles": roles}
			if roles == nil {
				delete(in, "roles")
			}
			if err := cl.call(c.Context(), http.MethodPost, "/api/v1/users", in, &u); err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.Stdout, "added %s (%s)\n", u.ID, cmp.Or(strings.Join(u.Roles, " "), "no roles"))
			return err
		},
	}
	c.Flags().StringVar(&name, "name", "", "as people write it")
	c.Flags().StringVar(&mail, "mail", "", "mail address")
	c.Flags().StringArrayVar(&roles, "role", nil, "role, or role@NAMESPACE; repeatable")
	return c
}

func newUserRoles(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "roles USER [ROLE…]", Short: "Replace the roles of a user; without any, take all", Args: args(cobra.MinimumNArgs(1)), Long: rolesHelp,
		RunE: func(c *cobra.Command, x []string) error {
			u, err := a.changeUser(c, x[0], map[string]any{"roles": append([]string{}, x[1:]...)})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.Stdout, "%s has %s\n", u.ID, cmp.Or(strings.Join(u.Roles, " "), "no roles of their own"))
			return err
		},
	}
}

func newUserLink(a *app) *cobra.Command {
	var part bool
	c := &cobra.Command{
		Use: "same USER [USER]", Short: "Say that two users are one person, for rules that count people", Args: args(cobra.RangeArgs(1, 2)),
		RunE: func(c *cobra.Command, x []string) error {
			if part == (len(x) == 2) {
				return usage("give the other USER, or --part")
			}
			person := ""
			if len(x) == 2 {
				person = x[1]
			}
			u, err := a.changeUser(c, x[0], map[string]any{"person": person})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.Stdout, "%s counts as %s\n", u.ID, cmp.Or(u.Person, u.ID))
			return err
		},
	}
	c.Flags().BoolVar(&part, "part", false, "they are not the same person")
	return c
}

func newUserSwitch(a *app, verb, short string, disabled bool) *cobra.Command {
	return &cobra.Command{Use: verb + " USER", Short: short, Args: args(cobra.ExactArgs(1)), RunE: func(c *cobra.Command, x []string) error {
		u, err := a.changeUser(c, x[0], map[string]any{"disabled": disabled})
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(a.Stdout, "%sd %s\n", verb, u.ID)
		return err
	}}
}

func (a *app) changeUser(c *cobra.Command, id string, change map[string]any) (user, error) {
	var u user
	cl, err := a.client()
	if err != nil {
		return u, err
	}
	return u, cl.call(c.Context(), http.MethodPatch, "/api/v1/users/"+url.PathEscape(id), change, &u)
}

func newUserGroup(a *app) *cobra.Command {
	return group("group", "Groups of users and services that hold roles together", newGroupList(a), newGroupAdd(a), newGroupRemove(a))
}

func newGroupList(a *app) *cobra.Command {
	var format string
	return formatFlag(&cobra.Command{Use: "list", Short: "List groups with roles and members", Args: args(cobra.NoArgs), RunE: func(c *cobra.Command, _ []string) error {
		cl, err := a.client()
		if err != nil {
			return err
		}
		gs, err := all[userGroup](c.Context(), cl, "/api/v1/groups", nil, 0)
		if err != nil {
			return err
		}
		if format == "json" {
			return printJSON(a.Stdout, gs)
		}
		t := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "NAME\tROLES\tMEMBERS\tNOTE")
		for _, g := range gs {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", g.Name, cmp.Or(strings.Join(g.Roles, " "), "-"), cmp.Or(strings.Join(g.Members, " "), "-"), cmp.Or(g.Note, "-"))
		}
		return t.Flush()
	}}, &format)
}

func newGroupAdd(a *app) *cobra.Command {
	var (
		note  string
		roles []string
	)
	c := &cobra.Command{
		Use: "add GROUP [MEMBER…]", Short: "Make a group, or add members to it", Args: args(cobra.MinimumNArgs(1)),
		Long: rolesHelp + "\nMembers are user:NAME or service:NAME.\n\n  warden access group add ml user:ann user:bob --role engineer@team-a",
		RunE: func(c *cobra.Command, x []string) error {
			in := map[string]any{"add": append([]string{}, x[1:]...)}
			if c.Flags().Changed("role") {
				in["roles"] = roles
			}
			if c.Flags().Changed("note") {
				in["note"] = note
			}
			return a.changeGroup(c, x[0], in)
		},
	}
	c.Flags().StringVar(&note, "note", "", "what it is for")
	c.Flags().StringArrayVar(&roles, "role", nil, "replaces its roles: role, or role@NAMESPACE; repeatable")
	return c
}

func newGroupRemove(a *app) *cobra.Command {
	var whole bool
	c := &cobra.Command{
		Use: "remove GROUP [MEMBER…]", Short: "Take members out of a group, or with --all the group away", Args: args(cobra.MinimumNArgs(1)),
		RunE: func(c *cobra.Command, x []string) error {
			if whole == (len(x) > 1) {
				return usage("give the members to take out, or --all")
			}
			if !whole {
				return a.changeGroup(c, x[0], map[string]any{"remove": x[1:]})
			}
			cl, err := a.client()
			if err != nil {
				return err
			}
			if err := cl.call(c.Context(), http.MethodDelete, "/api/v1/groups/"+url.PathEscape(x[0]), nil, nil); err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.Stdout, "removed %s\n", x[0])
			return err
		},
	}
	c.Flags().BoolVar(&whole, "all", false, "remove the group itself")
	return c
}

func (a *app) changeGroup(c *cobra.Command, name string, change map[string]any) error {
	cl, err := a.client()
	if err != nil {
		return err
	}
	var g userGroup
	if err := cl.call(c.Context(), http.MethodPatch, "/api/v1/groups/"+url.PathEscape(name), change, &g); err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.Stdout, "%s: %d members, %s\n", g.Name, len(g.Members), cmp.Or(strings.Join(g.Roles, " "), "no roles"))
	return err
}
