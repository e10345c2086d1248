// Package httpapi is the way in over HTTP: a POST is a session of one send, a GET one of one
// question. Events and WebSocket, which keep their connection, and the pages are handlers it is given.
//
// A request passes the connection's guard (guard.go), which sees what net/http hides; then the
// checks of where it comes from (origin.go); then its route (server.go) finds the handler
// (rooms.go, health.go). Handlers return errors; answer.go is the one place that makes answers of
// them.
package httpapi
