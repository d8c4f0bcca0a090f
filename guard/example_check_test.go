package guard_test

import (
	"context"
	"fmt"

	"github.com/modelwarden/warden/guard"
	"github.com/modelwarden/warden/internal/chat"
)

// A request to a model that others run: the address is replaced on its way out,
// and comes back in the answer.
func ExampleGuard_Check() {
	g, err := guard.New(guard.Config{External: true, Nonce: func() string { return "k3f9" }})
	if err != nil {
		fmt.Println(err)
		return
	}
	text := []byte("Write to karin.lund@skane-mail.se")
	x := &guard.Exchange{Messages: []chat.Message{{Role: chat.User, Parts: []chat.Part{{Kind: chat.Text, Text: text}}}}}
	res := g.Check(context.Background(), x)
	fmt.Println(res.Effect, res.Complete, string(res.Apply(0, 0, text)))
	// Output: redact true Write to [EMAIL_1_k3f9]
}
