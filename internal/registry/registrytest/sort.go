package registrytest

import "slices"

// firstBy sorts rows and returns the first limit.
func firstBy[T any](rows []T, limit int, compare func(x, y T) int) []T {
	slices.SortFunc(rows, compare)
	return rows[:min(limit, len(rows))]
}
