//go:build !race

package sock_test

// raced says that the race detector, which takes memory of its own, is on.
const raced = false
