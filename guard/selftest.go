package guard

import (
	"context"
	"fmt"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/chat"
	"github.com/modelwarden/warden/internal/check/prompt"
)

// SelfTest runs every detector over a known attack and a text that looks alike:
// the one must be found, the other not. A guard that loaded wrongly lets
// everything through with a straight face (PurpleLlama #114), so a caller that
// gets an error here must not use the guard. Configuration does not change the
// test. It takes some milliseconds.
func (g *Guard) SelfTest(ctx context.Context) error {
	if err := prompt.SelfTest(ctx); err != nil {
		return fmt.Errorf("%w: %w", ErrSelfTest, err)
	}
	for text, want := range map[string]warden.Effect{
		"The card is 4111 1111 1111 1111.": warden.Redact,
		"The sum is 4111 1111 1111 1112.":  warden.Allow,
	} {
		s, err := NewStream(StreamConfig{}, &Exchange{})
		if err != nil {
			return fmt.Errorf("%w: %w", ErrSelfTest, err)
		}
		lane := Lane{Kind: chat.Text}
		if _, err := s.Write(lane, []byte(text)); err != nil {
			return fmt.Errorf("%w: answers: %w", ErrSelfTest, err)
		}
		if _, err := s.Close(lane); err != nil {
			return fmt.Errorf("%w: answers: %w", ErrSelfTest, err)
		}
		if res := s.Finish(); res.Effect != want || !res.Complete {
			return fmt.Errorf("%w: answers: effect %s, want %s", ErrSelfTest, res.Effect, want)
		}
	}
	return nil
}
