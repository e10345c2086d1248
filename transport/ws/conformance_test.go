package ws_test

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"parley"
	"parley/transport/ws"
)

// conformance is what a client writes and what it gets, rule by rule of RFC 6455 and RFC 7692, in
// the order of the Autobahn suite.
type conformance struct {
	name  string
	write []byte
	want  []string // frames, by how they begin; behind a close comes the end
}

// check plays each case twice: in one piece, and, if it is short, byte by byte.
func check(t *testing.T, f *fixture, headers []string, cases []conformance) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			play := func(chop bool) {
				f.t = t
				p, _ := f.dial(headers...)
				go func() {
					if !chop {
						p.write(c.write)
						return
					}
					for i := range c.write {
						p.write(c.write[i : i+1])
					}
				}()
				p.want(c.want...)
				if strings.HasPrefix(c.want[len(c.want)-1], "close") {
					p.want("end")
				}
				_ = p.conn.Close()
			}
			play(false)
			if len(c.write) < 500 {
				play(true)
			}
		})
	}
}

func TestFraming(t *testing.T) {
	f := startDefault(t)
	var cases []conformance
	for _, n := range []int{125, 126, 127, 128, 65535, 65536, 256 << 10} {
		cases = append(cases, conformance{"text of " + itoa(n), text(sized(n)), []string{pongOp}})
	}
	check(t, f, nil, append(cases, []conformance{
		{"text of 0", text(""), []string{badOp}},
		{"text that is no JSON", join(text("hello"), text(pingOp)), []string{badOp, pongOp}},
		{"an unknown operation", join(text(`{"op":"dance","ref":"r"}`), text(pingOp)), []string{`text {"op":"error","ref":"r","code":"bad_request"`, pongOp}},
		{"many in one write", join(text(pingOp), text(pingOp), text(pingOp)), []string{pongOp, pongOp, pongOp}},
		{"binary", frame(fin|opBinary, pingOp), []string{"close 1003"}},
		{"binary, its header alone", frame(fin|opBinary, "xx")[:2], []string{"close 1003"}},
		{"not masked", append([]byte{fin | opText, byte(len(pingOp))}, pingOp...), []string{"close 1002"}},
		{"a length beyond 63 bits", append([]byte{fin | opText, 0xff}, bytes.Repeat([]byte{0xff}, 12)...), []string{"close 1002"}},
	}...))
}

func TestPingsAndPongs(t *testing.T) {
	ten := bytes.Repeat(ping("x"), 10)
	check(t, startDefault(t), nil, []conformance{
		{"ping without payload", ping(""), []string{"pong "}},
		{"ping with payload", ping("Hello, world!"), []string{"pong Hello, world!"}},
		{"ping of bytes", ping("\x00\xff\xfe\xfd"), []string{"pong \x00\xff\xfe\xfd"}},
		{"ping of 125", ping(strings.Repeat("\xfe", 125)), []string{"pong " + strings.Repeat("\xfe", 125)}},
		{"ping of 126", ping(strings.Repeat("x", 126)), []string{"close 1002"}},
		{"ping of 65536", ping(strings.Repeat("x", 65536)), []string{"close 1002"}},
		{"pong nobody asked for", join(frame(fin|opPong, "x"), ping("y")), []string{"pong y"}},
		{"ten pings", ten, []string{"pong x", "pong x", "pong x", "pong x", "pong x", "pong x", "pong x", "pong x", "pong x", "pong x"}},
		{"ping in fragments", frame(opPing, "x"), []string{"close 1002"}},
		{"pong in fragments", frame(opPong, "x"), []string{"close 1002"}},
	})
}

func TestReservedBitsAndOpcodes(t *testing.T) {
	f := startDefault(t)
	var cases []conformance
	for _, bits := range []byte{rsv1, rsv2, rsv3, rsv1 | rsv2, rsv1 | rsv3, rsv2 | rsv3, rsv1 | rsv2 | rsv3} {
		for name, op := range map[string]byte{"text": opText, "ping": opPing, "close": opClose} {
			cases = append(cases, conformance{
				name + " with bits " + itoa(int(bits>>4)), join(text(pingOp), frame(fin|bits|op, ""), text(pingOp)),
				[]string{pongOp, "close 1002"},
			})
		}
	}
	for _, op := range []byte{3, 4, 5, 6, 7, 11, 12, 13, 14, 15} {
		cases = append(
			cases,
			conformance{"opcode " + itoa(int(op)), frame(fin|op, ""), []string{"close 1002"}},
			conformance{"opcode " + itoa(int(op)) + " with payload", join(text(pingOp), frame(fin|op, "x")), []string{pongOp, "close 1002"}},
		)
	}
	check(t, f, nil, cases)
}

func TestFragmentation(t *testing.T) {
	head, tail := pingOp[:7], pingOp[7:]
	check(t, startDefault(t), nil, []conformance{
		{"two fragments", join(frame(opText, head), frame(fin|opCont, tail)), []string{pongOp}},
		{"three, empty ones among them", join(frame(opText, ""), frame(opCont, pingOp), frame(fin|opCont, "")), []string{pongOp}},
		{"all empty", join(frame(opText, ""), frame(opCont, ""), frame(fin|opCont, "")), []string{badOp}},
		{"a ping between", join(frame(opText, head), ping("p"), frame(fin|opCont, tail)), []string{"pong p", pongOp}},
		{"a pong between", join(frame(opText, head), frame(fin|opPong, "p"), frame(fin|opCont, tail)), []string{pongOp}},
		{"a close between", join(frame(opText, head), closing(1000, ""), frame(fin|opCont, tail)), []string{"close 1000"}},
		{"continuation of nothing", join(frame(opCont, pingOp), text(pingOp)), []string{"close 1002"}},
		{"last continuation of nothing", frame(fin|opCont, pingOp), []string{"close 1002"}},
		{"continuation behind the end", join(text(pingOp), frame(fin|opCont, "x")), []string{pongOp, "close 1002"}},
		{"a text within a text", join(frame(opText, head), text(pingOp)), []string{"close 1002"}},
		{"a binary within a text", join(frame(opText, head), frame(fin|opBinary, "x")), []string{"close 1002"}},
		{"two messages", join(frame(opText, head), frame(fin|opCont, tail), frame(opText, head), frame(fin|opCont, tail)), []string{pongOp, pongOp}},
	})
}

func TestUTF8(t *testing.T) {
	f := startDefault(t)
	var cases []conformance
	valid := []string{
		"Hello-\u00b5@\u00df\u00f6\u00e4\u00fc-UTF-8!!", "\u03ba\u1f79\u03c3\u03bc\u03b5", "\x00", "\x7f", "\u0080", "\u07ff",
		"\u0800", "\ud7ff", "\ue000", "\ufffd", "\ufffe", "\uffff", "\U00010000", "\U0001fffe", "\U0010ffff",
	}
	for _, s := range valid {
		cases = append(cases, conformance{"valid " + quote(s), text(s), []string{badOp}})
		var parts []byte
		for i := range len(s) { // a fragment for each byte: within characters too
			op := byte(opCont)
			if i == 0 {
				op = opText
			}
			parts = append(parts, frame(op, s[i:i+1])...)
		}
		cases = append(cases, conformance{"in fragments " + quote(s), join(parts, frame(fin|opCont, "")), []string{badOp}})
	}
	invalid := []string{
		"\xce\xba\xe1\xbd\xb9\xcf\x83\xed\xa0\x80edited", "\x80", "\xbf", "\x80\xbf", "\xfe", "\xff", "\xfe\xfe\xff\xff",
		"\xc0\xaf", "\xe0\x80\xaf", "\xf0\x80\x80\xaf", "\xf8\x80\x80\x80\xaf", "\xfc\x80\x80\x80\x80\xaf",
		"\xc0\x80", "\xc1\xbf", "\xe0\x9f\xbf", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf7\xbf\xbf\xbf",
		"\xed\xa0\x80", "\xed\xbf\xbf", "\xed\xa0\x80\xed\xb0\x80", "\xc3(", "\xe2\x82(", "a\xff",
	}
	for _, s := range invalid {
		cases = append(
			cases,
			conformance{"invalid " + quote(s), text(s), []string{"close 1007"}},
			conformance{"invalid, not ended " + quote(s), frame(opText, s), []string{"close 1007"}},
			conformance{"invalid, behind a fragment " + quote(s), join(frame(opText, "ab\u03ba"), frame(opCont, s)), []string{"close 1007"}},
			conformance{"invalid, of a frame that is not all here " + quote(s), frame(opText, s+strings.Repeat("x", 100))[:6+len(s)], []string{"close 1007"}},
		)
	}
	for _, s := range []string{"\xce", "\xe1\xbd", "\xf0\x9f\x98", "ok\xf0"} {
		cases = append(
			cases,
			conformance{"cut off " + quote(s), text(s), []string{"close 1007"}},
			conformance{"cut off in the last fragment " + quote(s), join(frame(opText, "x"), frame(fin|opCont, s)), []string{"close 1007"}},
		)
	}
	check(t, f, nil, cases)
}

func TestClose(t *testing.T) {
	f := startDefault(t)
	cases := []conformance{
		{"without a code", frame(fin|opClose, ""), []string{"close"}},
		{"one byte", frame(fin|opClose, "\x03"), []string{"close 1002"}},
		{"with a reason", closing(1000, "goodbye"), []string{"close 1000"}},
		{"with the longest reason", closing(1000, strings.Repeat("x", 123)), []string{"close 1000"}},
		{"with too long a reason", closing(1000, strings.Repeat("x", 124)), []string{"close 1002"}},
		{"with a reason that is no UTF-8", closing(1000, "\xce\xba\xed\xa0\x80"), []string{"close 1007"}},
		{"in fragments", frame(opClose, ""), []string{"close 1002"}},
		{"twice", join(closing(1000, ""), closing(1000, "")), []string{"close 1000"}},
		{"and then more", join(closing(1000, ""), text(pingOp), ping("x")), []string{"close 1000"}},
		{"behind an operation", join(text(pingOp), closing(1001, "")), []string{pongOp, "close 1001"}},
		{"behind a send, which is acknowledged first", join(text(`{"op":"send","room":"r","body":"hi","ref":2}`), closing(1000, "")), []string{`text {"op":"ack","ref":2,`, "close 1000"}},
	}
	for _, code := range []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999} {
		cases = append(cases, conformance{"code " + itoa(code), closing(code, "x"), []string{"close " + itoa(code)}})
	}
	for _, code := range []int{0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535} {
		cases = append(cases, conformance{"bad code " + itoa(code), closing(code, "x"), []string{"close 1002"}})
	}
	check(t, f, nil, cases)
}

func TestLimits(t *testing.T) {
	limits := parley.DefaultLimits()
	limits.Frame, limits.Message = 1000, 100
	f := start(t, limits, ws.Config{Ping: -1})
	huge := binary.BigEndian.AppendUint64([]byte{fin | opText, 0xff}, 1<<62)
	tooLarge := []string{`text {"op":"error","code":"too_large"`, "close 1009"}
	check(t, f, nil, []conformance{
		{"at the limit", text(sized(1000)), []string{pongOp}},
		{"over it", text(sized(1001)), tooLarge},
		{"over it by its header alone", text(sized(1001))[:8], tooLarge},
		{"over it by far", append(huge, 0, 0, 0, 0), tooLarge},
		{"in fragments at the limit", join(frame(opText, sized(1000)[:600]), frame(fin|opCont, sized(1000)[600:])), []string{pongOp}},
		{"in fragments over it", join(frame(opText, sized(1000)[:600]), frame(opCont, strings.Repeat("x", 401))), tooLarge},
		{"in endless fragments", join(frame(opText, "x"), bytes.Repeat(frame(opCont, "x"), 1000)), tooLarge},
		{"a body over its limit ends nothing", join(text(`{"op":"send","room":"r","ref":2,"body":"`+strings.Repeat("x", 101)+`"}`), text(pingOp)), []string{`text {"op":"error","ref":2,"code":"too_large"`, pongOp}},
	})
	if got := f.server.Stats().Refused; got == 0 {
		t.Error("nothing was counted")
	}
}

func TestCompression(t *testing.T) {
	limits := parley.DefaultLimits()
	limits.Frame = 10_000
	f := start(t, limits, ws.Config{Ping: -1})
	const first = fin | rsv1 | opText
	z := deflated(pingOp)
	bomb := deflated(strings.Repeat("x", 10<<20))[:9000]
	tooLarge := []string{`text {"op":"error","code":"too_large"`, "close 1009"}
	check(t, f, []string{deflateOffer}, []conformance{
		{"a message", frame(first, z), []string{pongOp}},
		{"not compressed", text(pingOp), []string{pongOp}},
		{"both by turns", join(frame(first, z), text(pingOp), frame(first, z)), []string{pongOp, pongOp, pongOp}},
		{"in fragments", join(frame(rsv1|opText, z[:5]), frame(opCont, z[5:9]), frame(fin|opCont, z[9:])), []string{pongOp}},
		{"a ping between fragments", join(frame(rsv1|opText, z[:5]), ping("p"), frame(fin|opCont, z[5:])), []string{"pong p", pongOp}},
		{"at the limit", frame(first, deflated(sized(10_000))), []string{pongOp}},
		{"over the limit", frame(first, deflated(sized(10_001))), tooLarge},
		{"a bomb", frame(first, bomb), tooLarge},
		{"nothing", frame(first, deflated("")), []string{badOp}},
		{"no deflate", frame(first, "\xff\xff\xff\xff\xff"), []string{"close 1007"}},
		{"no UTF-8 in it", frame(first, deflated("\xff\xfe")), []string{"close 1007"}},
		{"an ended block", frame(first, "\x01\x15\x00\xea\xff"+pingOp+"\x00"), []string{pongOp}},
		{"the bit on a continuation", join(frame(rsv1|opText, z[:5]), frame(fin|rsv1|opCont, z[5:])), []string{"close 1002"}},
		{"the bit on a ping", frame(fin|rsv1|opPing, ""), []string{"close 1002"}},
		{"another bit too", frame(first|rsv2, z), []string{"close 1002"}},
		{"a long answer is compressed", text(`{"op":"dance","ref":"` + strings.Repeat("x", 300) + `"}`), []string{`deflated {"op":"error","ref":"xxx`}},
	})
	t.Run("not negotiated", func(t *testing.T) {
		check(t, f, nil, []conformance{{"the bit", frame(first, z), []string{"close 1002"}}})
	})
}
