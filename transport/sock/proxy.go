package sock

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/pires/go-proxyproto"
	"golang.org/x/sys/unix"
)

// Proxies are those that are believed when they say who their client is. What others say of it is
// nothing but a claim.
type Proxies []netip.Prefix

// Trusts says whether an address is a proxy's.
func (p Proxies) Trusts(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	return slices.ContainsFunc(p, func(prefix netip.Prefix) bool { return prefix.Contains(addr) })
}

// Client is the address of a request's client. Each proxy puts in front of it whom it has heard: the
// first that is no proxy's, from behind, is the client's. X-Forwarded-For is looked at, and Forwarded
// (RFC 7239) only where there is none, since most proxies pass on what they do not write.
func (p Proxies) Client(r *http.Request) netip.AddrPort {
	peer := ClientAddr(r)
	if !p.Trusts(peer.Addr()) {
		return peer
	}
	chain := forwarded(r.Header)
	for i := len(chain) - 1; i >= 0; i-- {
		addr, ok := parseNode(chain[i])
		if !ok {
			break // what is in front of it may be anybody's word
		}
		if peer = addr; !p.Trusts(addr.Addr()) {
			break
		}
	}
	return peer
}

// ClientAddr is the address of a request's client, as the server has found it. The port may be 0.
func ClientAddr(r *http.Request) netip.AddrPort {
	addr, _ := netip.ParseAddrPort(r.RemoteAddr)
	return netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
}

// forwarded lists whom the proxies of a request have heard, the last one last.
func forwarded(h http.Header) []string {
	if list := h.Values("X-Forwarded-For"); len(list) > 0 {
		return strings.Split(strings.Join(list, ","), ",")
	}
	list := h.Values("Forwarded")
	if len(list) == 0 {
		return nil
	}
	var nodes []string
	for hop := range strings.SplitSeq(strings.Join(list, ","), ",") {
		node := ""
		for pair := range strings.SplitSeq(hop, ";") {
			if name, value, _ := strings.Cut(pair, "="); strings.EqualFold(strings.TrimSpace(name), "for") {
				node = strings.Trim(strings.TrimSpace(value), `"`)
			}
		}
		nodes = append(nodes, node)
	}
	return nodes
}

// parseNode reads an address, perhaps in brackets, perhaps with a port.
func parseNode(s string) (netip.AddrPort, bool) {
	s = strings.TrimSpace(s)
	if addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")); err == nil {
		return netip.AddrPortFrom(addr.Unmap(), 0), true
	}
	addr, err := netip.ParseAddrPort(s)
	return netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port()), err == nil
}

// signature2 begins a header of the PROXY protocol's second version; the first's begins with a word.
const (
	signature1 = "PROXY "
	signature2 = "\r\n\r\n\x00\r\nQUIT\n"
)

// Sizes of headers.
const (
	header1Most = 107
	header2Head = 16
	header2Most = header2Head + 4096
)

// Begins says whether data begins with a header of the PROXY protocol, or with a part of one that
// nobody else sends.
func Begins(data []byte) bool {
	return bytes.HasPrefix(data, []byte(signature1+"TCP")) || bytes.HasPrefix(data, []byte(signature1+"UNKNOWN")) ||
		bytes.HasPrefix(data, []byte(signature2[:5]))
}

var errHeader = errors.New("a header of the PROXY protocol that cannot be")

// readHeader reads a header of the PROXY protocol and gives the address it tells of. It is nil where
// there is no header, be it that nothing comes until the deadline, and where it says that the proxy
// speaks for itself. Of what follows nothing is read.
func readHeader(c *net.TCPConn, deadline time.Time) (net.Addr, error) {
	if err := c.SetReadDeadline(deadline); err != nil {
		return nil, err
	}
	n, err := headerSize(c)
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, io.EOF) {
		return nil, c.SetReadDeadline(time.Time{})
	}
	if err != nil || n == 0 {
		return nil, errors.Join(err, c.SetReadDeadline(time.Time{}))
	}
	header := make([]byte, n)
	if _, err := io.ReadFull(c, header); err != nil {
		return nil, err
	}
	if err := c.SetReadDeadline(time.Time{}); err != nil {
		return nil, err
	}
	return parseHeader(header)
}

// parseHeader reads a whole header; nil: it tells of no address.
func parseHeader(header []byte) (net.Addr, error) {
	h, err := proxyproto.Read(bufio.NewReaderSize(bytes.NewReader(header), len(header)))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errHeader, err)
	}
	addr, ok := h.SourceAddr.(*net.TCPAddr)
	if h.Command.IsLocal() || !ok {
		return nil, nil // no address is no error
	}
	return addr, nil
}

// headerSize waits until a whole header has come and says how long it is, without reading it; 0: what
// comes is no header.
func headerSize(c *net.TCPConn) (size int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	buf := readBuffers.Get().(*[]byte)
	defer readBuffers.Put(buf)
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		var n int
		for {
			n, _, failed = unix.Recvfrom(int(fd), (*buf)[:header2Most], unix.MSG_PEEK)
			if !errors.Is(failed, unix.EINTR) {
				break
			}
		}
		switch {
		case errors.Is(failed, unix.EAGAIN):
			failed = nil
			return false
		case failed != nil:
			return true
		case n == 0:
			failed = io.EOF
			return true
		}
		var whole bool
		size, whole, failed = measure((*buf)[:n])
		return whole || failed != nil
	})
	if err == nil {
		err = failed
	}
	return size, err
}

// measure says how long the header is with which data begins, 0 if with none, and whether that can be
// said, and the header is whole.
func measure(data []byte) (size int, whole bool, err error) {
	first := data[:min(len(data), len(signature1))]
	second := data[:min(len(data), len(signature2))]
	switch {
	case strings.HasPrefix(signature1, string(first)):
		if i := bytes.IndexByte(data, '\n'); i >= 0 && i < header1Most {
			return i + 1, true, nil
		}
		if len(data) >= header1Most {
			return 0, false, errHeader
		}
		return 0, false, nil
	case !strings.HasPrefix(signature2, string(second)):
		return 0, true, nil
	case len(data) < header2Head:
		return 0, false, nil
	}
	size = header2Head + int(binary.BigEndian.Uint16(data[14:]))
	if size > header2Most {
		return 0, false, errHeader
	}
	return size, len(data) >= size, nil
}
