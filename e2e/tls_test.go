package e2e_test

import (
	"crypto/tls"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"parley/internal/certtest"
)

// What holds over TCP holds over TLS: these tests run once more, against servers with a certificate.
func TestOverTLS(t *testing.T) {
	for name, test := range map[string]func(*testing.T){
		"plain lines":         TestPlainLines,
		"many lines":          TestManyLinesAtOnceKeepTheirOrder,
		"commands":            TestPlainCommands,
		"fragments":           TestFragments,
		"long lines":          TestPlainLineTooLong,
		"strangers":           TestStrangersPublishNothing,
		"hello":               TestHello,
		"before the welcome":  TestNothingOfTheLobbyComesBeforeTheWelcome,
		"joins":               TestJoinFromAnyPosition,
		"resume":              TestResume,
		"large pages":         TestHistoryPageOfLargeBodies,
		"ids":                 TestSameIDIsStoredOnce,
		"gap":                 TestGapInMidStream,
		"drain":               TestDrainTellsEveryone,
		"drain in flight":     TestDrainAnswersWhatIsInFlight,
		"drain of the stuck":  TestDrainIsBounded,
		"a slow reader":       TestSlowReaderLosesNothingAndCostsNothing,
		"a crash in mid-load": TestKill9UnderLoad,
	} {
		t.Run(name, test)
	}
}

// ofTLS is how the names of such tests begin.
const ofTLS = "TestOverTLS/"

// secured is how clients speak TLS with the server at an address.
var secured sync.Map // of *tls.Config by string

// secure has a server speak TLS where its test is one over TLS.
func (s *server) secure() {
	if !strings.HasPrefix(s.t.Name(), ofTLS) {
		return
	}
	authority := certtest.New(s.t)
	cert, key, _ := authority.Write(s.t.TempDir())
	s.flags = append(slices.Clip(s.flags), "--tls-cert", cert, "--tls-key", key)
	s.tls = authority.Client()
}

// reached has clients go to an address, and speak TLS there or not.
func (s *server) reached(addr string) {
	s.addr.Store(&addr)
	if s.tls == nil {
		secured.Delete(addr) // another server's once
		return
	}
	secured.Store(addr, s.tls)
}

// overTLS makes TLS of a connection to an address where that is spoken. The handshake comes with the first
// words.
func overTLS(c net.Conn, addr string) net.Conn {
	if config, ok := secured.Load(addr); ok {
		return tls.Client(c, config.(*tls.Config))
	}
	return c
}

// belowTLS is the connection that carries another, or that one itself.
func belowTLS(c net.Conn) *net.TCPConn {
	if secure, ok := c.(*tls.Conn); ok {
		c = secure.NetConn()
	}
	return c.(*net.TCPConn)
}
