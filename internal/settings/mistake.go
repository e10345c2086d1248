package settings

import (
	"errors"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"parley"
)

var errTooLarge = errors.New("larger than any configuration")

// Mistake is something wrong with one value: the user's to mend.
type Mistake struct {
	Where string // file:line, a variable or a flag; "" = nowhere, it is a default
	Path  string // of the value, where Where does not say it
	Text  string // what is wrong, and what would be right
}

func (m Mistake) String() string {
	parts := []string{m.Where, m.Path, m.Text}
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), ": ")
}

// Mistakes are all that were found. As an error they are lines, one each.
type Mistakes []Mistake

func (m Mistakes) Error() string {
	var lines []string
	for _, one := range m {
		lines = append(lines, one.String())
	}
	return strings.Join(lines, "\n")
}

// Add takes in the mistakes that an error is. Another error is a mistake without a place.
func (m *Mistakes) Add(err error) {
	var more Mistakes
	switch {
	case err == nil:
	case errors.As(err, &more):
		*m = append(*m, more...)
	default:
		*m = append(*m, Mistake{Text: err.Error()})
	}
}

// Err is nil where there are none.
func (m Mistakes) Err() error {
	if len(m) == 0 {
		return nil
	}
	return m
}

// nearest finds the name that was most likely meant, or "".
func nearest(name string, names []string) string {
	best, least := "", max(1, min(3, len(name)/3))+1
	for _, n := range names {
		if d := distance(strings.ToLower(name), n); d < least {
			best, least = n, d
		}
	}
	return best
}

// distance is how many letters must be put, taken, changed or swapped to make b of a.
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}

// lineSaid is how a type that reads its own YAML says its line, which is known already.
var lineSaid = regexp.MustCompile(`^(yaml: )?line \d+: `)

// plain is what an error says to people.
func plain(err error) string {
	var types *yaml.TypeError
	var refusal *parley.Error
	text := err.Error()
	switch {
	case errors.As(err, &types) && len(types.Errors) > 0:
		text = types.Errors[0]
	case errors.As(err, &refusal):
		text = refusal.Message
	}
	return lineSaid.ReplaceAllString(text, "")
}
