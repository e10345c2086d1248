package server

import (
	"context"
	"io"
	"time"

	"parley/engine"
)

// backup writes all that the log holds.
func (d *doors) backup(ctx context.Context, w io.Writer) error {
	began := time.Now()
	var last engine.Progress
	err := d.engine.Backup(ctx, w, func(p engine.Progress) { last = p })
	if err == nil {
		d.logger.Info("a backup was made", "streams", last.Streams, "bytes", last.Bytes, "took", time.Since(began).String())
	}
	return err
}
