package session

import (
	"context"

	"parley"
	"parley/wire"
)

// Operations about the books themselves: what groups, readers and hooks there are, and taking groups and
// readers away.

func (s *Session) groups(ctx context.Context, op *wire.Op) error {
	list, err := s.server.groups(ctx, op)
	if err != nil {
		return err
	}
	s.out.Reply(func(enc wire.Encoding, dst []byte) []byte { return enc.Groups(dst, op.Ref, op.Room, list) })
	return nil
}

func (s *Session) readers(ctx context.Context, op *wire.Op) error {
	list, more, err := s.server.readers(ctx, op)
	if err != nil {
		return err
	}
	s.out.Reply(func(enc wire.Encoding, dst []byte) []byte { return enc.Readers(dst, op.Ref, op.Room, list, more) })
	return nil
}

func (s *Session) remove(ctx context.Context, op *wire.Op) error {
	if err := s.server.remove(ctx, op); err != nil {
		return err
	}
	s.server.removed(s.client(), op)
	s.out.Reply(func(enc wire.Encoding, dst []byte) []byte {
		return enc.Removed(dst, op.Ref, op.Room, op.Group, op.Reader)
	})
	return nil
}

func (s *Session) listHooks(_ context.Context, op *wire.Op) error {
	list := s.server.hooks()
	s.out.Reply(func(enc wire.Encoding, dst []byte) []byte { return enc.Hooks(dst, op.Ref, list) })
	return nil
}

func (s *Server) groups(ctx context.Context, op *wire.Op) ([]wire.GroupEntry, error) {
	infos, err := s.Work.Groups(ctx, op.Room)
	list := make([]wire.GroupEntry, len(infos))
	for i, info := range infos {
		list[i] = wire.GroupEntry(info)
	}
	return list, err
}

func (s *Server) readers(ctx context.Context, op *wire.Op) (list []wire.ReaderEntry, more bool, err error) {
	infos, more, err := s.Work.Readers(ctx, op.Room, op.AfterReader, op.Limit)
	for _, info := range infos {
		list = append(list, wire.ReaderEntry(info))
	}
	return list, more, err
}

func (s *Server) remove(ctx context.Context, op *wire.Op) error {
	if op.Group != "" {
		return s.Work.Remove(ctx, op.Room, op.Group)
	}
	return s.Work.RemoveReader(ctx, op.Room, op.Reader)
}

func (s *Server) hooks() []wire.HookEntry {
	if s.Hooks == nil {
		return nil
	}
	return s.Hooks()
}

// Groups lists the groups of a room for a caller.
func (s *Server) Groups(ctx context.Context, c Caller, op *wire.Op) ([]wire.GroupEntry, error) {
	if err := s.Admit(ctx, c, op); err != nil {
		return nil, err
	}
	return s.groups(ctx, op)
}

// Readers lists readers of a room for a caller.
func (s *Server) Readers(ctx context.Context, c Caller, op *wire.Op) (list []wire.ReaderEntry, more bool, err error) {
	if err := s.Admit(ctx, c, op); err != nil {
		return nil, false, err
	}
	return s.readers(ctx, op)
}

// Remove removes a group or a reader for a caller.
func (s *Server) Remove(ctx context.Context, c Caller, op *wire.Op) error {
	if err := s.Admit(ctx, c, op); err != nil {
		return err
	}
	err := s.remove(ctx, op)
	if err == nil {
		s.removed(c.client(), op)
	}
	return err
}

// ListHooks lists the hooks for a caller.
func (s *Server) ListHooks(ctx context.Context, c Caller, op *wire.Op) ([]wire.HookEntry, error) {
	if err := s.Admit(ctx, c, op); err != nil {
		return nil, err
	}
	return s.hooks(), nil
}

// Advance moves a reader for a caller, and returns where it is when that is durable.
func (s *Server) Advance(ctx context.Context, c Caller, op *wire.Op) (position uint64, err error) {
	if op.Job != "" || op.Reader == "" {
		return 0, parley.Errorf(parley.BadRequest, "a reader is moved by its name and a seq")
	}
	if err := s.Admit(ctx, c, op); err != nil {
		return 0, err
	}
	return s.advance(ctx, op)
}
