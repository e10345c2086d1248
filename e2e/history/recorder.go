package history

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strconv"
	"sync"
	"time"
)

// Recorder writes a history to a file. It is safe for concurrent use.
type Recorder struct {
	began time.Time

	mu   sync.Mutex
	file *os.File
	buf  *bufio.Writer
	ids  int
}

// Create begins a history in a file.
func Create(path string) (*Recorder, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	return &Recorder{began: time.Now(), file: f, buf: bufio.NewWriter(f)}, nil
}

// Add writes an event, with the time of now.
func (r *Recorder) Add(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.write(e)
}

// Invoke writes the beginning of something and gives its id.
func (r *Recorder) Invoke(e Event) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ids++
	e.ID, e.Type = strconv.Itoa(r.ids), "invoke"
	r.write(e)
	return e.ID
}

func (r *Recorder) write(e Event) {
	e.T = time.Since(r.began).Nanoseconds()
	line, err := json.Marshal(e)
	if err != nil {
		panic(err) // no event has what cannot be JSON
	}
	_, _ = r.buf.Write(append(line, '\n')) // an error stays until the flush
}

// Events reads back what has been written so far.
func (r *Recorder) Events() ([]Event, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.buf.Flush(); err != nil {
		return nil, err
	}
	f, err := os.Open(r.file.Name())
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return Read(f)
}

// Close ends the history.
func (r *Recorder) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return errors.Join(r.buf.Flush(), r.file.Close())
}

// Read reads a history.
func Read(from io.Reader) (list []Event, err error) {
	for d := json.NewDecoder(from); d.More(); {
		var e Event
		if err := d.Decode(&e); err != nil {
			return nil, err
		}
		list = append(list, e)
	}
	return list, nil
}
