package work

import (
	"encoding/binary"
	"slices"

	"parley"
)

// maxStretches bounds what a group remembers of the dead letters that were put back.
const maxStretches = 1024

// stretch is dead letters, those behind after up to last, of which all that are the group's were put
// back.
type stretch struct{ after, last uint64 }

// letters are the dead letters that were put back, so that none is a second time. They are kept as
// stretches, which grow together where all of a room's are put back. Where there are too many, the
// oldest are forgotten, and no letter of that age can be put back any more.
type letters struct {
	list      []stretch // ascending
	forgotten uint64    // up to this one
}

// has says whether a letter was put back. It is an error where nobody knows.
func (l *letters) has(seq uint64) (bool, error) {
	i := l.find(seq)
	if i < len(l.list) && l.list[i].after < seq {
		return true, nil
	}
	if seq <= l.forgotten {
		return false, parley.Errorf(parley.Conflict, "the letter is too old: whether it was put back is not known any more")
	}
	return false, nil
}

// find gives the first stretch that ends at seq or behind it.
func (l *letters) find(seq uint64) int {
	i, _ := slices.BinarySearchFunc(l.list, seq, func(s stretch, seq uint64) int {
		if s.last < seq {
			return -1
		}
		return 1
	})
	return i
}

// add notes that the letters behind after up to last were put back; after is the letter in front of
// them in their room, or 0 where that is not known.
func (l *letters) add(after, last uint64) {
	if after == 0 {
		after = last - 1
	}
	i := l.find(after)
	from := i
	for ; i < len(l.list) && l.list[i].after <= last; i++ {
		after, last = min(after, l.list[i].after), max(last, l.list[i].last)
	}
	l.list = slices.Replace(l.list, from, i, stretch{after, last})
	if len(l.list) > maxStretches {
		l.forgotten = l.list[0].last
		l.list = slices.Delete(l.list, 0, 1)
	}
}

// appendTo adds all to a record.
func (l *letters) appendTo(b []byte) []byte {
	if len(l.list) == 0 && l.forgotten == 0 {
		return b
	}
	b = binary.AppendUvarint(append(b, stepLetters), l.forgotten)
	b = binary.AppendUvarint(b, uint64(len(l.list)))
	for _, s := range l.list {
		b = binary.AppendUvarint(b, s.after)
		b = binary.AppendUvarint(b, s.last-s.after)
	}
	return b
}

// read reads what appendTo has written.
func (l *letters) read(d *decoder) {
	*l = letters{forgotten: d.uint()}
	for n := d.uint(); n > 0 && !d.bad; n-- {
		if len(l.list) == maxStretches {
			d.fail()
			return
		}
		after := d.uint()
		l.list = append(l.list, stretch{after, after + d.uint()})
	}
}
