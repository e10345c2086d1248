package settings

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Load reads a YAML file over what is there. All its mistakes are found at once; what has none is
// set. A list replaces the one that was there.
func (s *Set) Load(name string) error {
	data, err := readFile(name)
	if err != nil {
		return Mistakes{{Text: "read the configuration: " + err.Error()}}
	}
	l := loader{set: s, file: name}
	d := yaml.NewDecoder(bytes.NewReader(data))
	var document, more yaml.Node
	switch err := d.Decode(&document); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return Mistakes{l.syntax(err)}
	}
	l.decode("", s.target, field{}, document.Content[0])
	if !errors.Is(d.Decode(&more), io.EOF) {
		l.wrong(&document, "", "a configuration is one document: nothing follows behind ---")
	}
	return l.found.Err()
}

// loader is one reading of a file.
type loader struct {
	set   *Set
	file  string
	found Mistakes
}

// syntaxError is how the parser writes where it could not go on.
var syntaxError = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

// syntax makes a mistake of what the parser says.
func (l *loader) syntax(err error) Mistake {
	where, text := l.file, err.Error()
	if m := syntaxError.FindStringSubmatch(text); m != nil {
		if text = m[2]; m[1] != "" {
			where += ":" + m[1]
		}
	}
	return Mistake{Where: where, Text: "no YAML: " + text}
}

// at is a node's place.
func (l *loader) at(n *yaml.Node) string { return fmt.Sprintf("%s:%d", l.file, max(1, n.Line)) }

func (l *loader) wrong(n *yaml.Node, path, format string, args ...any) {
	l.found = append(l.found, Mistake{Where: l.at(n), Path: path, Text: fmt.Sprintf(format, args...)})
}

// decode sets a value from a node.
func (l *loader) decode(path string, v reflect.Value, f field, n *yaml.Node) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if path != "" {
		l.set.origins[path] = l.at(n)
	}
	empty := n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null"
	switch t := v.Type(); {
	case decodesItself(t):
		if err := v.Addr().Interface().(yaml.Unmarshaler).UnmarshalYAML(n); err != nil {
			l.wrong(n, path, "%s", plain(err))
		}
	case isScalar(t):
		l.decodeScalar(path, v, f, n)
	case empty && (t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice):
		// Whoever wrote the key meant something to be in force, and it would not be.
		l.wrong(n, path, "nothing is in it: say what, or leave the key out (an empty list is written [])")
	case empty: // a section of defaults whose lines are all comments: as it was
	case t.Kind() == reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(t.Elem()))
		}
		l.decode(path, v.Elem(), f, n)
	case t.Kind() == reflect.Slice:
		l.decodeList(path, v, f, n)
	default:
		l.decodeSection(path, v, n)
	}
}

func (l *loader) decodeScalar(path string, v reflect.Value, f field, n *yaml.Node) {
	if n.Kind != yaml.ScalarNode {
		l.wrong(n, path, "one value, not %s", kindOf(n))
		return
	}
	tag := n.ShortTag()
	var err error
	switch {
	case tag == "!!null":
		err = errNoValue
	case v.Type().Kind() == reflect.String && tag == "!!bool":
		err = fmt.Errorf("a text, not %s; with quotes it is one", n.Value)
	default:
		err = setText(v, f, n.Value)
	}
	if err != nil {
		l.wrong(n, path, "%s", plain(err))
		return
	}
	if f.as == "path" && v.Kind() == reflect.String {
		v.SetString(l.resolve(v.String(), f.words))
	}
}

// resolve makes a path that is relative to the file one from here.
func (l *loader) resolve(path string, words []string) string {
	if path == "" || filepath.IsAbs(path) || slices.Contains(words, path) {
		return path
	}
	return filepath.Join(filepath.Dir(l.file), path)
}

func (l *loader) decodeList(path string, v reflect.Value, f field, n *yaml.Node) {
	items := n.Content
	if n.Kind != yaml.SequenceNode {
		if n.Kind != yaml.ScalarNode || !isScalar(v.Type().Elem()) {
			l.wrong(n, path, "a list, not %s", kindOf(n))
			return
		}
		items = []*yaml.Node{n} // a list of one may be written without brackets
	}
	list := reflect.MakeSlice(v.Type(), len(items), len(items))
	for i, item := range items {
		l.decode(fmt.Sprintf("%s[%d]", path, i), list.Index(i), f, item)
	}
	v.Set(list)
}

func (l *loader) decodeSection(path string, v reflect.Value, n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		l.wrong(n, path, "keys and their values, not %s", kindOf(n))
		return
	}
	known := fields(v.Type())
	lines := make(map[string]int)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		at := join(path, key.Value)
		if line, twice := lines[key.Value]; twice {
			l.wrong(key, at, "it stands here twice, on line %d already", line)
			continue
		}
		lines[key.Value] = key.Line
		j := slices.IndexFunc(known, func(f field) bool { return f.name == key.Value })
		if j < 0 {
			l.wrong(key, at, "%s", l.unknown(path, key.Value, known))
			continue
		}
		l.decode(at, v.FieldByIndex(known[j].index), known[j], value)
	}
}

// unknown says that there is no such key, and which one may be meant: one beside it, or one elsewhere.
func (l *loader) unknown(path, name string, known []field) string {
	var names []string
	for _, f := range known {
		names = append(names, f.name)
	}
	if near := nearest(name, names); near != "" {
		return fmt.Sprintf("no such key; did you mean %s?", near)
	}
	flat := strings.NewReplacer(".", "_", "-", "_", "[]", "")
	for _, p := range l.set.Paths() {
		last := p[strings.LastIndexByte(p, '.')+1:]
		if p != join(path, name) && (flat.Replace(p) == flat.Replace(name) || last == name) {
			return fmt.Sprintf("no such key; did you mean %s?", p)
		}
	}
	if len(names) <= 8 {
		return "no such key; there are " + strings.Join(names, ", ")
	}
	return "no such key; parley config init writes a file with all there are"
}

// kindOf says what a node is.
func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "keys and their values"
	case yaml.SequenceNode:
		return "a list"
	}
	return "one value" // which may be a secret that was put into the wrong place
}
