package parley

import "context"

// Journals are the server's own books on the log: named sequences of records, durable like
// messages and behind the same watermark, but nobody's rooms. They are never listed to a user, and
// nothing of them goes by age or number: who writes a journal trims it.
//
// All methods may be called by many goroutines at once. A journal's name is any bytes, 1 to
// [MaxJournalName]; each is written by one owner.
type Journals interface {
	// Write appends a record and returns; done is called once, when it is durable or has failed,
	// as [Log.Append] calls its own. Records of one goroutine for one journal keep their order.
	// It does not keep record after it has returned. A record has 1 to [MaxRecord] bytes.
	Write(ctx context.Context, journal string, record []byte, done func(seq uint64, err error)) error

	// WriteNext is Write for an owner who may have been replaced without knowing it: the record is
	// stored only if the journal's newest one has the seq last, 0 for a journal that holds none.
	// Otherwise it is [ErrOvertaken], here or through done, and nothing was stored. So of two owners who have read
	// the same journal only one can go on. An owner has one such record of a journal under way at
	// a time, and leaves its newest one when it trims. On a node alone nobody else can write, and
	// nothing is compared.
	WriteNext(ctx context.Context, journal string, last uint64, record []byte, done func(seq uint64, err error)) error

	// Records gives up to limit durable records with seq > after, oldest first; more says that
	// there were more behind the last one.
	Records(ctx context.Context, journal string, after uint64, limit int) (records []Record, more bool, err error)

	// Newest gives the journal's last durable record; its Seq is 0 where there is none.
	Newest(ctx context.Context, journal string) (Record, error)

	// Trim removes the records up to and including seq. After a crash some may be there again.
	Trim(ctx context.Context, journal string, seq uint64) error

	// Journals names those that hold records and begin with prefix.
	Journals(ctx context.Context, prefix string) ([]string, error)
}

// ErrOvertaken says that a journal has another owner's record where one was to be written.
var ErrOvertaken = Errorf(Unavailable, "another node keeps these books by now")

// Record is an entry of a journal. Its bytes are the reader's own.
type Record struct {
	Seq  uint64 // rises within the journal, not contiguous
	Data []byte
}

// Bounds of journals.
const (
	MaxRecord      = 5 << 19 // bytes: a message of the largest kind, and what is said of it
	MaxJournalName = 2048    // bytes
)
