package ws_test

import (
	"crypto/tls"
	"net"
	"testing"

	"parley/internal/certtest"
)

// What holds over TCP holds over TLS, where the same bytes come through another socket.
func TestOverTLS(t *testing.T) {
	secure = certtest.New(t)
	defer func() { secure = nil }()
	for name, test := range map[string]func(*testing.T){
		"framing":                    TestFraming,
		"pings and pongs":            TestPingsAndPongs,
		"fragmentation":              TestFragmentation,
		"close":                      TestClose,
		"limits":                     TestLimits,
		"compression":                TestCompression,
		"handshakes":                 TestHandshakeNegotiates,
		"operations right behind it": TestHandshakeWithOperationsRightBehindIt,
		"dead clients":               TestDeadClientsAreCut,
		"a flood of pings":           TestPingFloodEndsAtItsOwnSocket,
		"whole messages":             TestControlFramesNeverTearMessages,
		"drain":                      TestDrainSaysGoodbye,
		"drain of who does not read": TestDrainCutsThoseWhoDoNotRead,
		"leaving":                    TestClientsThatLeaveAreForgotten,
		"half closed":                TestHalfClosedClientIsAnswered,
		"sleep":                      TestSleepersWake,
		"the close frame":            TestNothingFollowsTheCloseFrame,
	} {
		t.Run(name, test)
	}
}

// tcpOf is the connection below TLS, if there is any.
func tcpOf(c net.Conn) *net.TCPConn {
	if secured, ok := c.(*tls.Conn); ok {
		c = secured.NetConn()
	}
	return c.(*net.TCPConn)
}
