package bench

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Row is what one load reached against one server.
type Row struct {
	Load    string
	Peer    string
	Params  []Param
	Figures []Figure
}

// Param is a parameter of a load, for the record.
type Param struct {
	Key   string
	Value any
}

// Figure is a number with its unit in its name: Title is a table's heading, Key a JSON object's.
type Figure struct {
	Key   string
	Title string
	Value float64
}

func (r *Row) figure(key, title string, value float64) {
	r.Figures = append(r.Figures, Figure{key, title, value})
}

// cost adds the server's CPU time for each million of things, where it is known.
func (r *Row) cost(t *target, key, title string, s stretch) {
	if t.pid != 0 {
		r.figure(key, title, s.cpuPerMillion())
	}
}

// latency adds percentiles of a histogram of nanoseconds, in milliseconds.
func (r *Row) latency(h *hdrhistogram.Histogram) {
	at := func(quantile float64) float64 {
		if h.TotalCount() == 0 {
			return math.NaN()
		}
		return float64(h.ValueAtQuantile(quantile)) / 1e6
	}
	r.figure("p50_ms", "p50 ms", at(50))
	r.figure("p99_ms", "p99 ms", at(99))
	r.figure("p99.9_ms", "p99.9 ms", at(99.9))
	r.figure("max_ms", "max ms", at(100))
}

// value gives a figure by its key; NaN where the row has none.
func (r *Row) value(key string) float64 {
	for _, f := range r.Figures {
		if f.Key == key {
			return f.Value
		}
	}
	return math.NaN()
}

// title gives a figure's heading by its key.
func (r *Row) title(key string) string {
	for _, f := range r.Figures {
		if f.Key == key {
			return f.Title
		}
	}
	return key
}

// newHistogram holds nanoseconds from 1 µs to 2 minutes, to three digits.
func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1e3, 120e9, 3) }

// record counts a latency. What is out of the histogram's range counts as its end.
func record(h *hdrhistogram.Histogram, nanoseconds int64) {
	_ = h.RecordValue(min(max(nanoseconds, 0), h.HighestTrackableValue()))
}

// ratios gives the first row's figures divided by those of each other row.
func ratios(rows []Row) []Row {
	var out []Row
	for _, other := range rows[min(1, len(rows)):] {
		first := rows[0]
		r := Row{Load: first.Load, Peer: first.Peer + " ÷ " + other.Peer}
		for _, f := range first.Figures {
			r.figure(f.Key, f.Title, f.Value/other.value(f.Key))
		}
		out = append(out, r)
	}
	return out
}

// print writes rows of one load: a table, or one JSON object each.
func (s *Setup) print(rows []Row) error {
	if s.JSON {
		for _, r := range rows {
			if err := s.printJSON(r); err != nil {
				return err
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(s.Out, 0, 0, 2, ' ', tabwriter.AlignRight)
	for i, r := range rows {
		if i == 0 {
			var params []string
			for _, p := range r.Params {
				params = append(params, fmt.Sprintf("%s %v", p.Key, p.Value))
			}
			_, _ = fmt.Fprintf(s.Out, "%s: %s\n\n", r.Load, strings.Join(params, ", "))
			for _, f := range r.Figures {
				_, _ = fmt.Fprintf(w, "\t%s", f.Title)
			}
			_, _ = fmt.Fprintln(w, "\t")
		}
		_, _ = fmt.Fprint(w, r.Peer)
		for _, f := range r.Figures {
			_, _ = fmt.Fprintf(w, "\t%s", human(f.Value))
		}
		_, _ = fmt.Fprintln(w, "\t")
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("print the table: %w", err)
	}
	return nil
}

// printJSON writes a row as a flat object: load, peer, parameters, figures. A figure that is no
// number is null.
func (s *Setup) printJSON(r Row) error {
	var b bytes.Buffer
	field := func(key string, value any) error {
		text, err := json.Marshal(value)
		if err != nil {
			return fmt.Errorf("print %s: %w", key, err)
		}
		b.WriteByte(",{"[min(1, max(0, 1-b.Len()))])
		b.WriteString(strconv.Quote(key) + ":")
		b.Write(text)
		return nil
	}
	params := append([]Param{{"load", r.Load}, {"peer", r.Peer}}, r.Params...)
	for _, f := range r.Figures {
		var value any
		if !math.IsNaN(f.Value) && !math.IsInf(f.Value, 0) {
			value = f.Value
		}
		params = append(params, Param{f.Key, value})
	}
	for _, p := range params {
		if err := field(p.Key, p.Value); err != nil {
			return err
		}
	}
	b.WriteString("}\n")
	if _, err := s.Out.Write(b.Bytes()); err != nil {
		return fmt.Errorf("print the row: %w", err)
	}
	return nil
}

// human writes a number with three digits that mean something, or whole with its thousands apart.
func human(v float64) string {
	switch {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return "-"
	case math.Abs(v) < 1000:
		if v == 0 {
			return "0"
		}
		places := 2 - int(math.Floor(math.Log10(math.Abs(v))))
		return strconv.FormatFloat(v, 'f', min(max(places, 0), 6), 64)
	}
	text := strconv.FormatFloat(math.Round(v), 'f', 0, 64)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
