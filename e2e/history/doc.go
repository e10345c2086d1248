// Package history is what a fault test writes down and what is judged by it: events as JSON lines,
// in which an operation is invoked and then ok, fail (it surely had no effect) or info (nobody
// knows). Whoever judges needs the history alone, and knows nothing of the server's code.
package history
