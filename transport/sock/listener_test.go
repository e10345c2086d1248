package sock_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"parley/internal/certtest"
	"parley/transport/sock"
)

// notTLS answers with what a client began with.
func notTLS(first []byte) []byte { return []byte("TLS is spoken here, not " + string(first) + "\n") }

func TestWhoDoesNotSpeakTLSIsTold(t *testing.T) {
	f := secure(t, sock.ListenerConfig{NotTLS: notTLS, Handshake: 300 * time.Millisecond})
	for name, tt := range map[string]struct{ write, want string }{
		"a line":  {"hello\n", "TLS is spoken here, not hello\n"},
		"HTTP":    {"GET / HTTP/1.1\r\n\r\n", "TLS is spoken here, not GET /\n"},
		"silence": {"", "TLS is spoken here, not \n"},
	} {
		t.Run(name, func(t *testing.T) {
			nc := f.dialTCP()
			_, _ = io.WriteString(nc, tt.write)
			if got, err := io.ReadAll(nc); string(got) != tt.want || err != nil {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	await(t, "the counters", func() bool {
		st := f.listener.Stats()
		return st.Plain == 2 && st.Late == 1 && st.UnderWay == 0 && st.Handshakes == 0
	})
}

func TestHandshakesMustEnd(t *testing.T) {
	f := secure(t, sock.ListenerConfig{NotTLS: notTLS, Handshake: 300 * time.Millisecond})
	nc := f.dialTCP()
	_, _ = nc.Write([]byte{0x16, 3, 1, 2, 0, 1}) // the beginning of one
	if got, err := io.ReadAll(nc); len(got) != 0 || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	await(t, "the counter", func() bool { return f.listener.Stats().Late == 1 })
}

// Who says nothing takes a place. Where all are taken, others get in all the same.
func TestSilentHandshakesMakeRoom(t *testing.T) {
	f := secure(t, sock.ListenerConfig{AtOnce: 3, Handshake: time.Minute})
	for range 5 {
		f.dialTCP()
	}
	await(t, "all places taken", func() bool { return f.listener.Stats().UnderWay == 3 })
	client, c := f.dial()
	_, _ = io.WriteString(client, "in")
	c.read(t, 2)
	if st := f.listener.Stats(); st.Hurried == 0 || st.UnderWay > 3 {
		t.Errorf("%+v", st)
	}
}

func TestOldVersionsAreRefused(t *testing.T) {
	f := secure(t, sock.ListenerConfig{})
	config := f.authority.Client()
	config.MinVersion, config.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	if err := tls.Client(f.dialTCP(), config).Handshake(); err == nil || !strings.Contains(err.Error(), "version") {
		t.Errorf("%v", err)
	}
	await(t, "the counter", func() bool { return f.listener.Stats().Failed == 1 })
	config.MaxVersion = tls.VersionTLS12
	client := tls.Client(f.dialTCP(), config)
	if _, err := io.WriteString(client, "in"); err != nil {
		t.Fatal(err)
	}
	f.next().read(t, 2)
}

// A challenge of an ACME server is nothing but a handshake.
func TestChallengesAreNoConnections(t *testing.T) {
	authority := certtest.New(t)
	config := authority.Server()
	config.NextProtos = []string{"http/1.1", "acme-tls/1"}
	f := listen(t, sock.ListenerConfig{TLS: config})
	asking := authority.Client()
	asking.NextProtos = []string{"acme-tls/1"}
	client := tls.Client(f.dialTCP(), asking)
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(client); len(got) != 0 || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if len(f.conns) != 0 {
		t.Error("it became a connection")
	}
}

func TestCloseEndsWhatIsUnderWay(t *testing.T) {
	f := secure(t, sock.ListenerConfig{Handshake: time.Minute})
	nc := f.dialTCP()
	await(t, "the connection", func() bool { return f.listener.Stats().UnderWay == 1 })
	if err := f.listener.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := nc.Read(make([]byte, 1)); err == nil {
		t.Error("it goes on")
	}
	if _, err := f.listener.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v", err)
	}
}
