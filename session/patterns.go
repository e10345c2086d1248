package session

import (
	"context"
	"slices"
	"strings"
	"time"

	"parley"
	"parley/auth"
	"parley/room"
	"parley/wire"
)

// Patterns: which of their rooms somebody is shown. Who is shown the same of a pattern shares a room of
// the hub, so grants are looked at for a room and not for a message.

// reserved are the first characters of names that are the server's own: they fit no pattern.
const reserved = "$"

// allows says whether all of r may be done in a room or, of a pattern, in some room that it covers.
func allows(who *auth.Principal, r auth.Right, in string) bool {
	if !parley.IsPattern(in) {
		return who.Grants.Allows(r, in)
	}
	p, err := parley.ParsePattern(in)
	return err == nil && who.Grants.Somewhere(r, p)
}

// shown is what somebody is shown of a pattern, which was checked: the rooms it may join, and of
// their past what it may read.
func shown(who *auth.Principal, pattern string) *room.Many {
	p, err := parley.ParsePattern(pattern)
	if err != nil {
		return &room.Many{Key: pattern, Match: func(string) bool { return false }} // cannot be
	}
	parts := who.Grants.Within(auth.Join, p)
	many := &room.Many{Key: key(pattern, parts), Match: func(name string) bool {
		return !strings.HasPrefix(name, reserved) &&
			slices.ContainsFunc(parts, func(part parley.Pattern) bool { return part.Match(name) })
	}}
	if !slices.Equal(parts, who.Grants.Within(auth.Join|auth.History, p)) {
		many.Past = func(name string) bool { return who.Grants.Allows(auth.Join|auth.History, name) }
	}
	return many
}

// key is a pattern and the parts of it that are shown.
func key(pattern string, parts []parley.Pattern) string {
	var b strings.Builder
	b.WriteString(pattern)
	for _, part := range parts {
		b.WriteByte('\n')
		b.WriteString(part.String())
	}
	return b.String()
}

// joinPattern makes of a join one of a pattern.
func (s *Session) joinPattern(j *room.Joining, joined func(enc wire.Encoding, dst []byte, at parley.Position) []byte) {
	j.Many, j.JoinedMany = shown(s.principal(), j.Room), joined
}

// ListenMany is Listen for a join of a pattern: joined is given the cursor that it begins at.
func (s *Session) ListenMany(ctx context.Context, op *wire.Op, joined func(dst []byte, at parley.Position) []byte) error {
	if err := s.gate(op); err != nil {
		return err
	}
	j := room.Joining{Room: op.Room, Start: op.Start, Echo: true}
	s.joinPattern(&j, func(_ wire.Encoding, dst []byte, at parley.Position) []byte { return joined(dst, at) })
	return s.enter(ctx, j)
}

// fits says whether a member may stay and is shown what it may see; s.mu is held.
func (s *Session) fits(m *room.Member) (stays, fits bool) {
	if !s.mayStay(m.Room(), m.Watches()) {
		return false, false
	}
	return true, m.Key() == "" || m.Key() == shown(s.who, m.Room()).Key
}

// changeTime bounds how long it may take to be shown other rooms.
const changeTime = 10 * time.Second

// change has a member of a pattern shown what it may see now. What it was shown before ends at once.
func (s *Session) change(m *room.Member, many *room.Many) {
	ctx, cancel := context.WithTimeout(context.Background(), changeTime)
	defer cancel()
	next, err := s.server.Hub.Change(ctx, m, many)
	s.mu.Lock()
	i := slices.Index(s.members, m)
	switch {
	case i < 0: // it has left meanwhile
	case err != nil:
		s.members = slices.Delete(s.members, i, i+1)
	default:
		s.members[i] = next
	}
	s.mu.Unlock()
	if i < 0 {
		if err == nil {
			next.Leave()
		}
		return
	}
	if err != nil {
		s.left(m.Room(), parley.Errorf(parley.Unavailable, "you are not in %s any more: join it again", m.Room()).Because(err))
	}
}

// left tells the client that it is not in a room any more, and why.
func (s *Session) left(name string, why *parley.Error) {
	s.out.Reply(func(enc wire.Encoding, dst []byte) []byte { return enc.Left(dst, nil, name) })
	s.Refuse(nil, why)
}

// sends notes that the session sends to a room, for who leaves out what it sent itself.
func (s *Session) sends(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.members {
		if m.Room() == name || m.Key() != "" {
			m.Sends()
		}
	}
}
