package gateway

import (
	"math/rand/v2"
	"slices"

	"github.com/modelwarden/warden"
	"github.com/modelwarden/warden/internal/chat/dialect"
)

// shaped reports whether the scores of the answer are made coarser.
func (x *exchange) shaped() bool {
	s := x.route.Shape
	return s.Top > 0 || s.LabelOnly || s.Round || s.NoiseScale > 0 || slices.Contains(x.obliged, "label_only")
}

// shape returns how the scores of the answer are made coarser: as the route
// says, or more strictly where the policy that allowed the request says so.
func (x *exchange) shape() dialect.Shape {
	s := x.route.Shape.Shape
	s.LabelOnly = s.LabelOnly || slices.Contains(x.obliged, "label_only")
	if scale := x.route.Shape.NoiseScale; scale > 0 {
		seed := warden.Sum(append([]byte(x.route.secret), x.raw...))
		src := rand.NewChaCha8(seed) // the same for the same question: asking again averages nothing away
		rng := rand.New(src)         //nolint:gosec // ChaCha8 with a secret seed
		s.Noise = func(int, int, float64) float64 { return rng.NormFloat64() * scale }
	}
	return s
}
