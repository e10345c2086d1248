package work_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"parley"
	"parley/work"
)

func FuzzJobsRecord(f *testing.F) {
	f.Add(uint64(813), int64(1795330800123), byte(1), byte(9), int64(0), "key", "id", "ada", []byte(`{"n":12}`))
	f.Add(uint64(1), int64(1), byte(2), byte(0), int64(1795330800123), "", "", "", []byte{})
	f.Fuzz(func(t *testing.T, seq uint64, at int64, typ, priority byte, expires int64, key, id, from string, body []byte) {
		m := &parley.Message{
			Room: "r", Seq: seq, Prev: seq / 2, ID: id, From: from, Type: parley.Type(typ % 3), Body: body, Key: key, Priority: priority,
		}
		const most = 1 << 45
		if at > 0 && at < most {
			m.At = time.UnixMilli(at).UTC()
		}
		if expires > 0 && expires < most {
			m.Expires = time.UnixMilli(expires).UTC()
		}
		list, err := work.ReadMessages("r", work.Messages([]*parley.Message{m, m}))
		if err != nil || len(list) != 2 {
			t.Fatal(list, err)
		}
		if len(body) == 0 {
			m.Body = list[1].Body
		}
		if diff := cmp.Diff(m, list[1]); diff != "" {
			t.Errorf("(-written +read):\n%s", diff)
		}
	})
}

// What is no record is an error, and never more.
func FuzzRecords(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{1})
	f.Add([]byte{1, 's', 1, 2, 3, 4, 1, 9, 9, 0, 0, 0, 0, 0, 'f', 9, 't', 9, 1, 0})
	f.Add([]byte{1, 's', 1, 2, 3, 4, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Add(work.Messages([]*parley.Message{{Seq: 1, Body: []byte("x")}}))
	f.Add(work.Later(parley.Draft{Room: "r", Body: []byte("x")}, time.UnixMilli(1)))
	f.Fuzz(func(t *testing.T, record []byte) {
		if list, err := work.ReadMessages("r", record); err == nil {
			for _, m := range list {
				if m.Type > parley.Binary {
					t.Errorf("a message of type %v", m.Type)
				}
			}
		}
		if open, _ := work.ApplySteps(record); open > len(record) {
			t.Errorf("%d jobs of %d bytes", open, len(record))
		}
		_, _, _, _ = work.ReadLater(record)
	})
}

func TestStepsAreApplied(t *testing.T) {
	for name, test := range map[string]struct {
		record []byte
		open   int
		ok     bool
	}{
		"a snapshot of one job":      {[]byte{1, 's', 1, 2, 3, 4, 1, 9, 9, 0, 0, 0, 0, 0}, 1, true},
		"which is finished":          {[]byte{1, 's', 1, 2, 3, 4, 1, 9, 9, 0, 0, 0, 0, 0, 'f', 9}, 0, true},
		"which is a dead letter":     {[]byte{1, 's', 1, 2, 3, 4, 1, 9, 9, 0, 0, 0, 0, 0, 'd', 9}, 0, true},
		"which was put back":         {[]byte{1, 's', 1, 2, 3, 4, 1, 9, 9, 0, 0, 0, 0, 0, 'd', 9, 'b', 9, 12, 0, 0, 0, 0}, 1, true},
		"a snapshot begins anew":     {[]byte{1, 'f', 9, 's', 1, 2, 3, 4, 1, 9, 9, 0, 0, 0, 0, 0}, 1, true},
		"another version":            {[]byte{2, 'f', 9}, 0, false},
		"an unknown step":            {[]byte{1, 'x'}, 0, false},
		"a snapshot that is cut off": {[]byte{1, 's', 1, 2}, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			if open, err := work.ApplySteps(test.record); open != test.open || (err == nil) != test.ok {
				t.Errorf("%d open, %v", open, err)
			}
		})
	}
}

func TestJobsOfAnotherVersionOrKindAreNotRead(t *testing.T) {
	t.Parallel()
	record := work.Messages([]*parley.Message{{Seq: 3, Prev: 2, ID: "i", From: "ada", Body: []byte("x")}})
	for at, name := range []string{"version", "kind"} {
		other := bytes.Clone(record)
		other[at] = 99
		if _, err := work.ReadMessages("r", other); err == nil {
			t.Errorf("a %s that nobody knows is read", name)
		}
	}
}
