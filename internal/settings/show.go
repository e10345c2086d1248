package settings

import (
	"fmt"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Hidden stands for a secret where a configuration is shown.
const Hidden = "(secret)"

// YAML writes the struct as a file that Load would read, secrets hidden; behind each value a comment says
// where it came from, unless plain is set.
func (s *Set) YAML(plain bool) ([]byte, error) {
	n := s.section("", s.target, !plain)
	var b strings.Builder
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(n); err != nil {
		return nil, err
	}
	return []byte(b.String()), e.Close()
}

// section makes a node of a struct.
func (s *Set) section(path string, v reflect.Value, origins bool) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	for _, f := range fields(v.Type()) {
		if f.omit && v.FieldByIndex(f.index).IsZero() {
			continue
		}
		inner := s.node(join(path, f.name), v.FieldByIndex(f.index), f, origins)
		if inner == nil {
			continue
		}
		n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: f.name}, inner)
	}
	return n
}

// node makes a node of a value; nil is one that is not there.
func (s *Set) node(path string, v reflect.Value, f field, origins bool) *yaml.Node {
	comment := ""
	if origins {
		comment = s.Origin(path)
	}
	switch t := v.Type(); {
	case t.Kind() == reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return s.node(path, v.Elem(), f, origins)
	case isScalar(t):
		n := scalar(v, f)
		n.LineComment = comment
		return n
	case t.Kind() == reflect.Slice && !decodesItself(t):
		return s.list(path, v, f, comment)
	case isSection(t):
		return s.section(path, v, origins)
	}
	n := new(yaml.Node)
	if err := n.Encode(v.Interface()); err != nil {
		n = &yaml.Node{Kind: yaml.ScalarNode, Value: fmt.Sprint(v.Interface())}
	}
	n.LineComment = comment
	return n
}

// list makes a node of a list; one of scalars is on one line, and so is one that is empty.
func (s *Set) list(path string, v reflect.Value, f field, comment string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.SequenceNode}
	if v.Len() == 0 || isScalar(v.Type().Elem()) {
		n.Style, n.LineComment = yaml.FlowStyle, comment
	}
	for i := range v.Len() {
		at := fmt.Sprintf("%s[%d]", path, i)
		if item := s.node(at, v.Index(i), f, comment != "" && n.Style != yaml.FlowStyle); item != nil {
			n.Content = append(n.Content, item)
		}
	}
	return n
}

func scalar(v reflect.Value, f field) *yaml.Node {
	n := new(yaml.Node)
	switch text := textOf(v, f); {
	case f.as == "secret" && !v.IsZero():
		n.SetString(Hidden)
	case isText(v.Type()):
		_ = n.Encode(text) // a string always can be; it gets quotes where it would not be one
	default:
		n.Kind, n.Value = yaml.ScalarNode, text
	}
	return n
}

// Shown is a value as it is shown to people and programs.
type Shown struct {
	Value string `json:"value"`
	From  string `json:"from"`
}

// Shown gives every value that is set, by its path, secrets hidden.
func (s *Set) Shown() map[string]Shown {
	all := make(map[string]Shown)
	s.show(all, "", s.section("", s.target, false))
	return all
}

func (s *Set) show(all map[string]Shown, path string, n *yaml.Node) {
	switch {
	case n.Kind == yaml.MappingNode && n.Style == yaml.FlowStyle: // of a type that writes itself, as one value
		text, _ := yaml.Marshal(n) // what was read can be written
		all[path] = Shown{Value: strings.TrimSpace(string(text)), From: s.Origin(path)}
	case n.Kind == yaml.MappingNode && len(n.Content) > 0:
		for i := 0; i+1 < len(n.Content); i += 2 {
			s.show(all, join(path, n.Content[i].Value), n.Content[i+1])
		}
	case n.Kind == yaml.SequenceNode && n.Style != yaml.FlowStyle:
		for i, item := range n.Content {
			s.show(all, fmt.Sprintf("%s[%d]", path, i), item)
		}
	case n.Kind == yaml.SequenceNode:
		var parts []string
		for _, item := range n.Content {
			parts = append(parts, item.Value)
		}
		all[path] = Shown{Value: strings.Join(parts, ","), From: s.Origin(path)}
	default:
		all[path] = Shown{Value: n.Value, From: s.Origin(path)}
	}
}
