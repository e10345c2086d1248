package main

import (
	"io"
	"strings"
	"testing"
)

func TestBenchCommandRefuses(t *testing.T) {
	for want, args := range map[string][]string{
		"--pid goes with --addr":  {"fanout", "--pid", "1"},
		"no encoding":             {"fanout", "--encoding", "xml"},
		"is no peer":              {"resume", "--against", "nats"},
		"has no room for a time":  {"publish", "--size", "3"},
		"servers that it starts":  {"all", "--addr", "127.0.0.1:1"},
		"connection refused":      {"publish", "--addr", "127.0.0.1:1"},
		"the newest 50":           {"resume", "--messages", "10"},
		"unknown flag":            {"idle", "--receivers", "1"},
		"a chunk of 0 bytes":      {"write-server"},
		"1 to 19500 connections":  {"idle", "--connections", "20000"},
		"starts its server, so i": {"start", "--addr", "127.0.0.1:1"},
		"no transport \"sse\"":    {"storm", "--transport", "sse"},
		"only ws compresses":      {"fanout", "--compress"},
		"no peer for this load":   {"fanout", "--transport", "ws", "--against", "nats"},
		"which is one for TCP":    {"join", "--transport", "ws", "--addr", "127.0.0.1:1"},
		"has a minute to settle":  {"idle", "--transport", "ws", "--settle", "2m"},
		"1 to 2000000 joins":      {"join", "--joins", "0"},
		"over TCP or ws":          {"fanout", "--rooms", "5", "--transport", "sse"},
		"and a window":            {"map", "--window", "0"},
		"a room keeps":            {"map", "--lines", "200000"},
	} {
		cmd := newBenchCommand()
		cmd.SetArgs(args)
		cmd.SetOut(io.Discard)
		cmd.SetErr(io.Discard)
		if err := cmd.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("bench %s: %v, want ... %s ...", strings.Join(args, " "), err, want)
		}
	}
}
