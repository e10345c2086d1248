package ws

import (
	"time"

	"github.com/gobwas/ws"
)

// Parser is the parser, for tests that give it pieces of their own choice.
type Parser struct{ p parser }

func NewParser(limit int, deflate bool) *Parser {
	return &Parser{parser{limit: limit, deflate: deflate}}
}

// Next is the parser's next.
func (p *Parser) Next(data []byte) (op ws.OpCode, message, rest []byte, err error) {
	m, rest, err := p.p.next(data)
	return m.op, m.data, rest, err
}

// Idle says whether nothing has begun.
func (p *Parser) Idle() bool { return p.p.idle() }

// Held is how many bytes the parser keeps.
func (p *Parser) Held() int { return cap(p.p.text) + cap(p.p.control) }

// SetMessageTime changes how long a message may take, before the first connection.
func (s *Server) SetMessageTime(d time.Duration) { s.messageTime = d }
