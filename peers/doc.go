// Package peers is what nodes of a cluster tell each other of themselves: tables of names, by room,
// that every node has a part in and all know. It is soft state: every node tells all others of each
// change, numbers what it tells, and says once a second how far its numbers have come. Who has
// missed one, or has not known the node, asks for all; who has heard nothing of a node for a while
// takes it for gone. So a table is right a few seconds after whatever has happened.
//
// The package must never know what the names stand for.
package peers
