package ws

import (
	"bytes"
	"io"
	"sync"

	"github.com/klauspost/compress/flate"
)

// inflater is a decompressor with what it reads from.
type inflater struct {
	r    io.ReadCloser // a flate.Resetter
	body bytes.Reader
	tail bytes.Reader
	in   io.Reader
}

// inflateTail is what a sender leaves out (RFC 7692, section 7.2.2), and an empty last block that
// tells the decompressor of the end.
var inflateTail = []byte{0x00, 0x00, 0xff, 0xff, 0x01, 0x00, 0x00, 0xff, 0xff}

var inflaters = sync.Pool{New: func() any { return &inflater{r: flate.NewReader(bytes.NewReader(nil))} }}

// inflate decompresses a message to at most limit bytes: what would be more is not produced.
func inflate(body []byte, limit int) ([]byte, error) {
	f := inflaters.Get().(*inflater)
	defer f.release()
	f.body.Reset(body)
	f.tail.Reset(inflateTail)
	f.in = io.MultiReader(&f.body, &f.tail)
	if err := f.r.(flate.Resetter).Reset(f.in, nil); err != nil {
		return nil, errDeflate
	}
	var out bytes.Buffer
	out.Grow(min(4*len(body), limit) + bytes.MinRead)
	n, err := out.ReadFrom(io.LimitReader(f.r, int64(limit)+1))
	switch {
	case n > int64(limit):
		return nil, errTooBig
	case err != nil:
		return nil, errDeflate
	}
	return out.Bytes(), nil
}

// release gives the inflater back to the pool, without the memory it points to.
func (f *inflater) release() {
	f.body.Reset(nil)
	f.in = nil
	inflaters.Put(f)
}
