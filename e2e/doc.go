// Package e2e tests the server from outside: the real binary, real sockets, real disks. It holds
// tests alone and imports nothing of Parley's, so that the protocol is checked against its
// description and not against the code that both sides could share.
//
// The binary is built once for each run, with the race detector where the tests have it;
// PARLEY_TEST_BINARY names one that is there already. What the harness offers:
//
//	server_test.go    a server on a data directory: start, kill, terminate, start again
//	peer_test.go      a connection, and a client of plain lines
//	speaker_test.go   a client of JSON lines
//	history           the history that fault tests write, and its judge: a package of their own
//	history_test.go   a history, and waiting for what is acknowledged
//	checker_test.go   what a test says of its history
//	load_test.go      publishers and subscribers that survive faults, and write a history
//
// Tests that mount file systems are left out where they may not; with PARLEY_TEST_ROOT=1 that is
// a failure instead. No test sleeps: each waits for something that must come, or must not, within
// a time.
package e2e
