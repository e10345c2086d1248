package ws_test

import (
	"log/slog"
	"strings"
	"testing"

	"parley"
	"parley/auth"
	"parley/session"
	"parley/transport/ws"
)

// Of who has yet to say who it is no more is kept than that takes.
func TestLittleIsKeptOfAStranger(t *testing.T) {
	for name, tt := range map[string]struct {
		granted auth.Grants
		rest    []byte
		want    []string
	}{
		"who may do nothing":   {auth.Grants{}, nil, []string{`text {"op":"error","code":"too_large"`, "close 1009"}},
		"who may do something": {auth.All(), frame(fin|opCont, pingOp), []string{pongOp}},
	} {
		t.Run(name, func(t *testing.T) {
			f := start(t, parley.DefaultLimits(), ws.Config{Ping: -1})
			authority, err := auth.New(t.Context(), auth.Settings{Anonymous: tt.granted}, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = authority.Close() })
			f.sessions.Auth = authority
			p, _ := f.dial()
			p.write(frame(opText, strings.Repeat(" ", session.HelloMost+1)))
			p.write(tt.rest)
			for _, want := range tt.want {
				if got := p.read(); !strings.HasPrefix(got, want) {
					t.Errorf("%.100s, want %s", got, want)
				}
			}
		})
	}
}
