// Package logtest holds a parley.Log in memory, for the tests of what stands on a log, and the
// suite of tests that every parley.Log passes: [Run].
//
// [New] makes the one in memory. Its clock can be set and its disk can be told to wait
// ([Memory.Hold]) or to fail ([Memory.Fail]). It keeps nothing when it is dropped, and has no
// goroutine while nothing is under way.
package logtest
