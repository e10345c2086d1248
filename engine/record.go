package engine

import (
	"encoding/binary"
	"errors"
	"time"

	"parley"
)

// A record is a message as it is stored: one byte of version, one of type, eight of the session
// (big-endian), the lengths of id and from as uvarints, id, from, and the body to the end. Room,
// seq and time are the store's. One with something for workers has another version, and in front of
// the body its priority, when it expires (a varint of milliseconds, 0 = never), and the key behind
// its length.
const (
	recordVersion = 1
	recordForWork = 2
	recordHead    = 10
	maxRecord     = 2 << 20 // bytes; what a body and its names may come to
)

var errRecord = errors.New("not a record of this version")

// appendRecord adds the draft's record to b.
func appendRecord(b []byte, d *parley.Draft) []byte {
	forWork := d.Key != "" || d.Priority != 0 || !d.Expires.IsZero()
	v := byte(recordVersion)
	if forWork {
		v = recordForWork
	}
	b = append(b, v, byte(d.Type))
	b = binary.BigEndian.AppendUint64(b, uint64(d.Session))
	b = binary.AppendUvarint(b, uint64(len(d.ID)))
	b = binary.AppendUvarint(b, uint64(len(d.From)))
	b = append(b, d.ID...)
	b = append(b, d.From...)
	if forWork {
		b = append(b, d.Priority)
		expires := int64(0)
		if !d.Expires.IsZero() {
			expires = d.Expires.UnixMilli()
		}
		b = binary.AppendVarint(b, expires)
		b = binary.AppendUvarint(b, uint64(len(d.Key)))
		b = append(b, d.Key...)
	}
	return append(b, d.Body...)
}

// decodeRecord fills m from b. The body stays in b, which m then owns.
func decodeRecord(b []byte, m *parley.Message) error {
	if len(b) < recordHead || (b[0] != recordVersion && b[0] != recordForWork) || b[1] > byte(parley.Binary) {
		return errRecord
	}
	m.Type = parley.Type(b[1])
	m.Session = parley.SessionID(binary.BigEndian.Uint64(b[2:]))
	id, rest, ok := length(b[recordHead:])
	if !ok {
		return errRecord
	}
	from, rest, ok := length(rest)
	if !ok || id > len(rest) || from > len(rest)-id {
		return errRecord
	}
	names := string(rest[:id+from]) // one allocation for both
	m.ID, m.From = names[:id], names[id:]
	body := rest[id+from:]
	if b[0] == recordForWork {
		if body, ok = decodeForWork(body, m); !ok {
			return errRecord
		}
	}
	m.Body = body[:len(body):len(body)]
	return nil
}

func length(b []byte) (n int, rest []byte, ok bool) {
	v, used := binary.Uvarint(b)
	if used <= 0 || v > maxRecord {
		return 0, nil, false
	}
	return int(v), b[used:], true
}

// decodeForWork fills m with what is for workers, and gives the rest.
func decodeForWork(b []byte, m *parley.Message) (rest []byte, ok bool) {
	if len(b) == 0 {
		return nil, false
	}
	m.Priority = b[0]
	expires, used := binary.Varint(b[1:])
	if used <= 0 {
		return nil, false
	}
	if expires != 0 {
		m.Expires = time.UnixMilli(expires).UTC()
	}
	n, rest, ok := length(b[1+used:])
	if !ok || n > len(rest) {
		return nil, false
	}
	m.Key = string(rest[:n])
	return rest[n:], true
}
