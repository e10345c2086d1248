package wire_test

import (
	"bytes"
	"compress/flate"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/google/go-cmp/cmp"

	"parley"
	"parley/wire"
)

// everyFrame appends each frame there is, of as many bytes as the filler makes it.
func everyFrame(filler string) map[string]func(enc wire.Encoding, dst []byte) []byte {
	ref := []byte(`"` + filler + `"`)
	m := &parley.Message{Room: "lobby", Seq: 3, Prev: 1, ID: "a", From: "ada", At: time.Unix(9, 0), Body: []byte("b" + filler)}
	users := []string{"ada", filler}
	return map[string]func(enc wire.Encoding, dst []byte) []byte{
		"message":       func(e wire.Encoding, dst []byte) []byte { return e.Message(dst, m) },
		"gap":           func(e wire.Encoding, dst []byte) []byte { return e.Gap(dst, "r"+filler, 1, 3) },
		"presence":      func(e wire.Encoding, dst []byte) []byte { return e.Presence(dst, "r", wire.Presence{Members: users}) },
		"signal":        func(e wire.Encoding, dst []byte) []byte { return e.Signal(dst, "r", "ada", ref) },
		"welcome":       func(e wire.Encoding, dst []byte) []byte { return e.Welcome(dst, ref, wire.Welcome{User: "ada"}) },
		"joined":        func(e wire.Encoding, dst []byte) []byte { return e.Joined(dst, ref, "r", 3) },
		"joinedMembers": func(e wire.Encoding, dst []byte) []byte { return e.JoinedMembers(dst, ref, "r", 3, users, 2) },
		"left":          func(e wire.Encoding, dst []byte) []byte { return e.Left(dst, ref, "r") },
		"ack":           func(e wire.Encoding, dst []byte) []byte { return e.Ack(dst, ref, "r", parley.Receipt{Seq: 3}) },
		"page": func(e wire.Encoding, dst []byte) []byte {
			return e.Page(dst, ref, "r", parley.Page{Messages: []*parley.Message{m}})
		},
		"members": func(e wire.Encoding, dst []byte) []byte { return e.Members(dst, ref, "r", users, 2) },
		"rooms": func(e wire.Encoding, dst []byte) []byte {
			return e.Rooms(dst, ref, []wire.RoomEntry{{Room: "r"}}, true)
		},
		"serving":  func(e wire.Encoding, dst []byte) []byte { return e.Serving(dst, ref, "r") },
		"question": func(e wire.Encoding, dst []byte) []byte { return e.Question(dst, &parley.Question{Room: "r"}) },
		"answer":   func(e wire.Encoding, dst []byte) []byte { return e.OneAnswer(dst, ref, "r", &parley.Answer{}) },
		"answered": func(e wire.Encoding, dst []byte) []byte { return e.Answered(dst, ref, "r", 1) },
		"taking":   func(e wire.Encoding, dst []byte) []byte { return e.Taking(dst, ref, "r", "g") },
		"stopped":  func(e wire.Encoding, dst []byte) []byte { return e.Stopped(dst, ref, "r", "g") },
		"busy":     func(e wire.Encoding, dst []byte) []byte { return e.Busy(dst, ref, "r", "g.1.1", time.Second) },
		"job": func(e wire.Encoding, dst []byte) []byte {
			return e.Job(dst, &parley.Job{Message: &parley.Message{Room: "r"}})
		},
		"revoked": func(e wire.Encoding, dst []byte) []byte { return e.Revoked(dst, ref) },
		"status":  func(e wire.Encoding, dst []byte) []byte { return e.Status(dst, wire.Status{Message: "m"}) },
		"drain":   func(e wire.Encoding, dst []byte) []byte { return e.Draining(dst, ref) },
		"pong":    func(e wire.Encoding, dst []byte) []byte { return e.Pong(dst, ref) },
		"error":   func(e wire.Encoding, dst []byte) []byte { return e.Error(dst, ref, parley.Errorf(parley.Denied, "no")) },
	}
}

// unframe reads one server frame, which has to be all there is, and gives the text in it.
func unframe(t *testing.T, p []byte) (text string, compressed bool) {
	t.Helper()
	r := bytes.NewReader(p)
	h, err := ws.ReadHeader(r)
	if err != nil {
		t.Fatalf("no frame: %v", err)
	}
	payload := p[len(p)-r.Len():]
	if h.Length != int64(len(payload)) {
		t.Fatalf("a frame of %d bytes with %d in it", h.Length, len(payload))
	}
	if !h.Fin || h.Masked || h.OpCode != ws.OpText || h.Rsv&3 != 0 {
		t.Fatalf("header %+v", h)
	}
	if h.Rsv == 0 {
		return string(payload), false
	}
	in := flate.NewReader(io.MultiReader(bytes.NewReader(payload), strings.NewReader("\x00\x00\xff\xff\x01\x00\x00\xff\xff")))
	out, err := io.ReadAll(in)
	if err != nil {
		t.Fatalf("inflate: %v", err)
	}
	return string(out), true
}

func TestWSFramesAreThoseOfJSONLines(t *testing.T) {
	for _, n := range []int{0, 10, 50, 80, 100, 300, 40_000, 70_000} {
		for name, appendTo := range everyFrame(strings.Repeat("x", n)) {
			want := strings.TrimSuffix(string(appendTo(wire.JSONLines{}, nil)), "\n")
			for _, enc := range []wire.WS{{}, {Deflate: true}} {
				got := appendTo(enc, []byte("before"))
				rest, kept := bytes.CutPrefix(got, []byte("before"))
				if !kept {
					t.Fatalf("%s: what stood before it is gone: %q", name, got[:6])
				}
				text, compressed := unframe(t, rest)
				if diff := cmp.Diff(want, text); diff != "" {
					t.Errorf("%s of %d bytes: (-want +got):\n%s", name, len(want), diff)
				}
				if compressed != (enc.Deflate && len(want) > 256) {
					t.Errorf("%s of %d bytes with %+v: compressed is %v", name, len(want), enc, compressed)
				}
			}
		}
	}
}

// Every boundary at which a header gets longer.
func TestWSFrameHeaders(t *testing.T) {
	bare := len(wire.JSONLines{}.Pong(nil, []byte(`""`))) - 1
	for _, n := range []int{125, 126, 127, 65535, 65536, 65537} {
		ref := []byte(`"` + strings.Repeat("x", n-bare) + `"`)
		frame := wire.WS{}.Pong(nil, ref)
		text, _ := unframe(t, frame)
		want := 2
		if n > 125 {
			want = 4
		}
		if n > 65535 {
			want = 10
		}
		if len(text) != n || len(frame)-n != want {
			t.Errorf("a text of %d bytes became %d, with a header of %d; want %d", n, len(text), len(frame)-n, want)
		}
	}
}

func TestWSIsSafeForManyAtOnce(t *testing.T) {
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			m := &parley.Message{Room: "r", Seq: uint64(i), ID: "a", From: "ada", Body: bytes.Repeat([]byte{'a' + byte(i)}, 1000)}
			want := strings.TrimSuffix(string(wire.JSONLines{}.Message(nil, m)), "\n")
			for range 200 {
				if text, _ := unframe(t, wire.WS{Deflate: true}.Message(nil, m)); text != want {
					t.Errorf("%s\nwant %s", text, want)
					return
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkWSMessage(b *testing.B) {
	m := &parley.Message{Room: "lobby", Seq: 813, Prev: 812, ID: "c1-7", From: "ada", At: time.Now(), Body: bytes.Repeat([]byte("hello "), 60)}
	for name, enc := range map[string]wire.Encoding{"json": wire.JSONLines{}, "ws": wire.WS{}, "deflate": wire.WS{Deflate: true}} {
		b.Run(name, func(b *testing.B) {
			var buf []byte
			b.ReportAllocs()
			for b.Loop() {
				buf = enc.Message(buf[:0], m)
			}
			b.ReportMetric(float64(len(buf)), "B/frame")
		})
	}
}
