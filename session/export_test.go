package session

import (
	"maps"
	"slices"

	"parley/wire"
)

// What the tests of this package see of its inside: the tables by which operations are carried out.

// Handled are the operations that are carried out.
func Handled() []wire.Kind { return slices.Sorted(maps.Keys(handlers)) }

// Righted are those of which it is said what right they take.
func Righted() []wire.Kind { return slices.Sorted(maps.Keys(rights)) }

// Priced are those of which it is said what they cost.
func Priced() []wire.Kind { return slices.Sorted(maps.Keys(prices)) }
