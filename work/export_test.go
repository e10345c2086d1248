package work

// What the tests of this package see of its inside.

// LastOf gives the seq of the last message in a record of jobs; 0 where there is none.
func LastOf(room string, record []byte) uint64 {
	list, err := messages(room, record)
	if err != nil || len(list) == 0 {
		return 0
	}
	return list[len(list)-1].Seq
}
