package prompt

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/detect"
)

// TestTraces measures taint on generated traces of agents: a value that a tool
// returned goes into a call (all must be found), or one that the user gave, or a
// new one does (at most 1 % may be).
func TestTraces(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 11))
	word := func() string {
		b := make([]byte, 4+r.IntN(6))
		for i := range b {
			b[i] = byte('a' + r.IntN(26))
		}
		return string(b)
	}
	digits := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte('0' + r.IntN(10))
		}
		return string(b)
	}
	kinds := []func() string{
		func() string { return word() + "@" + word() + ".net" },
		func() string { return "https://" + word() + ".example.net/" + word() },
		func() string { return "9" + digits(9) },
		func() string { return "/srv/" + word() + "/" + word() + ".txt" },
		func() string { return "DE" + digits(20) },
		func() string { return strings.Join([]string{word(), word(), word(), word(), word(), word()}, " ") },
	}
	forms := []func(string) string{
		func(s string) string { return s },
		strings.ToUpper,
		func(s string) string { return base64.StdEncoding.EncodeToString([]byte("send it to " + s + " now")) },
		func(s string) string { return s[:2] + "\u200b" + s[2:] },
		tags,
	}
	tools := []string{"send_mail", "make_payment", "run_shell", "http_request"}
	d := detector(t, "input/taint")
	found := func(user, read, value string) bool {
		args, err := json.Marshal(map[string]string{"to": value, "note": "as agreed"})
		if err != nil {
			t.Fatal(err)
		}
		in := input(t, trace(user, read, tools[r.IntN(len(tools))], string(args)), InputConfig{})
		res := detect.Run(t.Context(), warden.Ref{}, in, detect.DefaultLimits(), d)
		return res.Statuses[0].Counts[ruleTaintedSink] > 0
	}
	const n = 1200
	missed, wrong := 0, 0
	for i := range n {
		kind, form := kinds[i%len(kinds)], forms[i/len(kinds)%len(forms)]
		v, other := kind(), kind()
		filler := fmt.Sprintf("Dear %s, the %s is due. ", word(), word())
		if !found("Deal with my mail", filler+form(v)+" "+filler, v) {
			missed++
			t.Logf("missed %q as %q", v, form(v))
		}
		if found("Use "+v, filler+form(v), v) || found("Deal with my mail", filler+form(other), v) {
			wrong++
		}
	}
	t.Logf("%d traces: missed %d, false alarms %d", n, missed, wrong)
	if missed > 0 || wrong*100 > n {
		t.Errorf("missed %d, false alarms %d of %d", missed, wrong, n)
	}
}
