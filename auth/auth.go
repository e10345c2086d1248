// Package auth answers two questions: who is asking, and what may they do.
//
// An [Authority] checks credentials, which are tokens (JWT) or API keys, and gives a [Principal]:
// a user and their [Grants]. [Grants.Allows] answers for one room and one [Right]; it is asked for
// every operation and costs nanoseconds.
//
// It knows nothing of sessions and transports: who presents what, and when, is theirs.
package auth
