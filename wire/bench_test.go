package wire_test

import (
	"strings"
	"testing"
	"time"

	"parley"
	"parley/wire"
)

// What these two measure is paid once per message: by the session that takes a send, and by the
// room that encodes it for all its members.

func BenchmarkParseOpSend(b *testing.B) {
	line := []byte(`{"op":"send","room":"lobby","body":"` + strings.Repeat("x", 128) + `","id":"c1-7","ref":3}`)
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := wire.ParseOp(line); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMessage(b *testing.B) {
	at := time.Date(2026, 11, 22, 7, 0, 0, 123e6, time.UTC)
	for _, bench := range []struct {
		name string
		typ  parley.Type
		body string
	}{
		{"ascii", parley.Text, strings.Repeat("x", 128)},
		{"cyrillic", parley.Text, strings.Repeat("ж", 64)},
		{"json", parley.JSON, `{"t":"` + strings.Repeat("x", 120) + `"}`},
		{"binary", parley.Binary, strings.Repeat("\xff", 128)},
	} {
		b.Run(bench.name, func(b *testing.B) {
			m := &parley.Message{
				Room: "lobby", Seq: 813, Prev: 812, ID: "c1-7", From: "ada",
				At: at, Type: bench.typ, Body: []byte(bench.body),
			}
			dst := wire.JSONLines{}.Message(nil, m)
			b.SetBytes(int64(len(dst)))
			b.ReportAllocs()
			for b.Loop() {
				dst = wire.JSONLines{}.Message(dst[:0], m)
			}
		})
	}
}
