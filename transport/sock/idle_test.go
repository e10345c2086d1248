package sock_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"testing"

	"go.uber.org/goleak"

	"parley/transport/sock"
)

// clientsOf, in the environment, makes this test binary clients of a server instead: their memory is not
// the server's.
const clientsOf = "SOCK_TEST_CLIENTS_OF"

// idleClients are so many.
const idleClients = 1000

func TestMain(m *testing.M) {
	if addr := os.Getenv(clientsOf); addr != "" {
		beClients(addr)
		return
	}
	goleak.VerifyTestMain(m)
}

// beClients connects, says a word on each connection, and stays until stdin ends.
func beClients(addr string) {
	conns := make([]net.Conn, idleClients)
	for i := range conns {
		c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true}) // who it is, is not the point
		if err == nil {
			_, err = io.WriteString(c, "hello")
		}
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		conns[i] = c
	}
	fmt.Println("connected")
	_, _ = io.Copy(io.Discard, os.Stdin)
	runtime.KeepAlive(conns)
}

// An idle connection with TLS costs at most 15 KB, be it in the heap or in stacks.
func TestIdleTLSIsSmall(t *testing.T) {
	if testing.Short() {
		t.Skip("takes as long as it takes to fall asleep")
	}
	f := secure(t, sock.ListenerConfig{})
	before := inUse()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), clientsOf+"="+f.listener.Addr().String())
	stay, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = stay.Close()
		_ = cmd.Wait()
	}()
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "connected\n" {
		t.Fatal(line, err)
	}
	conns := make([]*taken, idleClients)
	for i := range conns {
		conns[i] = f.next()
		conns[i].read(t, 5)
		conns[i].data = nil // the test's own
	}
	for _, c := range conns {
		await(t, "sleep", c.Asleep)
	}
	each := (inUse() - before) / idleClients
	t.Logf("%d bytes each", each)
	if each > 15_000 && !raced {
		t.Errorf("an idle connection costs %d bytes", each)
	}
}

// inUse is what the heap and stacks hold, after what nobody needs is gone.
func inUse() int64 {
	runtime.GC() // twice: pools keep what they hold for one more
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

func listenPlain(t testing.TB, config sock.ListenerConfig) *fixture { return listen(t, config) }

// BenchmarkTryWrite is what a delivery costs its writer, the system call included. The reader has the same
// to do again, on another core if there is one.
func BenchmarkTryWrite(b *testing.B) {
	for _, size := range []int{128, 1 << 10, 16 << 10} {
		for _, name := range []string{"plain", "tls"} {
			b.Run(fmt.Sprintf("%s/%d", name, size), func(b *testing.B) {
				config := sock.ListenerConfig{}
				open := listenPlain
				if name == "tls" {
					open = secure
				}
				f := open(b, config)
				client, c := f.dial()
				go func() { _, _ = io.Copy(io.Discard, client) }()
				p := make([]byte, size)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					for left := p; len(left) > 0; {
						n, err := c.TryWrite(left)
						if err != nil {
							b.Fatal(err)
						}
						if left = left[n:]; len(left) > 0 && c.WaitWritable() != nil {
							b.Fatal("closed")
						}
					}
				}
			})
		}
	}
}
