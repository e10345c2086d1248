package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"time"
)

// Idle is connections that have joined a room and say nothing: what each costs in memory.
type Idle struct {
	Connections int
	Encoding    string
	Settle      time.Duration // the longest that the server's memory may take to come to rest
	Transport   string

	secure bool // over TLS
}

func (i Idle) way() way { return way{Transport: i.Transport} }

func (i Idle) overHTTP() bool { return i.way().overHTTP() }

func (i Idle) check() error {
	if i.Connections < 1 || i.Connections > maxConnections {
		return fmt.Errorf("idle has 1 to %d connections", maxConnections)
	}
	if i.Transport == WebSocket && i.Settle > time.Minute {
		return errors.New("idle answers no pings, so over ws its memory has a minute to settle")
	}
	if _, err := parleyDialect(i.Encoding, ""); err != nil {
		return err
	}
	return i.way().check(TCP, WebSocket, SSE)
}

func (i Idle) peer(name, _ string) []string {
	if name == NATS && !i.overHTTP() {
		return []string{"bench", "nats-server"}
	}
	return nil
}

func (i Idle) run(ctx context.Context, t *target) (Row, error) {
	if t.pid == 0 {
		return Row{}, errors.New("idle measures the server's memory: it needs the server's process")
	}
	d := natsDialect(false, "")
	if t.name == Parley {
		var err error
		if d, err = i.way().dialect(t, i.Encoding); err != nil {
			return Row{}, err
		}
	}
	before, err := i.atRest(ctx, t)
	if err != nil {
		return Row{}, err
	}
	room := roomName(runName(), 0)
	conns, err := dialAll(ctx, i.way().addr(t), i.Connections, t.say, func(_ int, c net.Conn) error {
		if i.secure {
			c = overTLS(c)
		}
		return d.receive(c, room)
	})
	if err != nil {
		return Row{}, err
	}
	defer closeAll(conns)
	after, err := i.atRest(ctx, t)
	if err != nil {
		return Row{}, err
	}
	const mb = 1e6
	row := Row{Load: "idle", Params: []Param{{"connections", i.Connections}, {"encoding", i.way().encoding(i.Encoding)}, {"transport", i.way().String()}}}
	if i.secure {
		row.Params = append(row.Params, Param{"tls", true})
	}
	row.figure("rss_before_mb", "MB before", float64(before)/mb)
	row.figure("rss_after_mb", "MB after", float64(after)/mb)
	row.figure("bytes_each", "bytes each", float64(after-before)/float64(i.Connections))
	return row, nil
}

// atRest waits until the server's memory has stayed within 1 % for some seconds, but no longer
// than Settle, and gives it.
func (i Idle) atRest(ctx context.Context, t *target) (int64, error) {
	const quiet, look = 8 * time.Second, 250 * time.Millisecond
	t.say("waiting for its memory to come to rest")
	ref, err := residentBytes(t.pid)
	if err != nil {
		return 0, err
	}
	begin := time.Now()
	for since := begin; time.Since(since) < quiet && time.Since(begin) < i.Settle; {
		if err := sleep(ctx, look); err != nil {
			return 0, err
		}
		now, err := residentBytes(t.pid)
		if err != nil {
			return 0, err
		}
		if math.Abs(float64(now-ref)) > 0.01*float64(ref) {
			ref, since = now, time.Now()
		}
	}
	return residentBytes(t.pid)
}
