package settings

import (
	"encoding"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// field is one of a struct's.
type field struct {
	name  string
	as    string   // size, path, secret or ""
	words []string // what is no path
	flag  string   // another name outside the file
	omit  bool     // not shown where it is zero
	index []int
}

// fields lists a struct's, in order; those inlined are its own.
func fields(t reflect.Type) []field {
	var all []field
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if !f.IsExported() || name == "-" {
			continue
		}
		if options == "inline" {
			for _, inner := range fields(f.Type) {
				inner.index = append([]int{i}, inner.index...)
				all = append(all, inner)
			}
			continue
		}
		if name == "" {
			name = strings.ToLower(f.Name)
		}
		all = append(all, field{
			name: name, as: meaning(name, f), index: []int{i},
			words: strings.Fields(f.Tag.Get("words")), flag: f.Tag.Get("flag"), omit: options == "omitempty",
		})
	}
	return all
}

// meaning is what a field's tag says, or else its name.
func meaning(name string, f reflect.StructField) string {
	switch as := f.Tag.Get("as"); {
	case as != "":
		return as
	case slices.Contains([]string{"secret", "password", "token", "hash"}, name):
		return "secret"
	case name == "file", strings.HasSuffix(name, "_file"):
		return "path"
	}
	return ""
}

// join makes the path of what is called name within path.
func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// Key is a setting that one text can give.
type Key struct {
	Path   string
	field  field
	value  reflect.Value
	attach func() // puts the value's section in its place, where there is none yet
}

// Flag is the key's name as a flag, without dashes before it.
func (k Key) Flag() string {
	if k.field.flag != "" {
		return k.field.flag
	}
	return strings.NewReplacer(".", "-", "_", "-").Replace(k.Path)
}

// Variable is the key's name in the environment.
func (k Key) Variable() string {
	return "PARLEY_" + strings.ToUpper(strings.ReplaceAll(k.Flag(), "-", "_"))
}

// Type names what the key's text is: string, list, bool, int, size or duration.
func (k Key) Type() string {
	switch {
	case k.value.Type() == durationType:
		return "duration"
	case k.field.as == "size":
		return "size"
	case k.value.Kind() == reflect.Slice:
		return "list"
	case isText(k.value.Type()):
		return "string"
	case isInt(k.value.Kind()):
		return "int"
	}
	return k.value.Kind().String()
}

// Text is the key's value as Put takes it.
func (k Key) Text() string {
	if k.value.Kind() != reflect.Slice {
		return textOf(k.value, k.field)
	}
	var parts []string
	for i := range k.value.Len() {
		parts = append(parts, textOf(k.value.Index(i), k.field))
	}
	return strings.Join(parts, ",")
}

// Keys lists the settings that one text can give, in the order of the struct.
func (s *Set) Keys() []Key {
	var keys []Key
	walk("", s.target, func() {}, func(k Key) {
		if t := k.value.Type(); isScalar(t) || t.Kind() == reflect.Slice && isScalar(t.Elem()) {
			keys = append(keys, k)
		}
	})
	return keys
}

// walk visits the values of a struct that are no structs themselves. A section that is not there is
// visited as if it were empty.
func walk(path string, v reflect.Value, attach func(), visit func(Key)) {
	for _, f := range fields(v.Type()) {
		inner, attach := v.FieldByIndex(f.index), attach
		if inner.Kind() == reflect.Pointer && isSection(inner.Type().Elem()) {
			if inner.IsNil() {
				place, outer, section := inner, attach, reflect.New(inner.Type().Elem())
				attach = func() { outer(); place.Set(section) }
				inner = section
			}
			inner = inner.Elem()
		}
		if at := join(path, f.name); isSection(inner.Type()) {
			walk(at, inner, attach, visit)
		} else {
			visit(Key{Path: at, field: f, value: inner, attach: attach})
		}
	}
}

// Paths lists all that can be set in a file, [] standing for any place in a list.
func (s *Set) Paths() []string { return paths("", s.target.Type()) }

func paths(path string, t reflect.Type) []string {
	switch {
	case isScalar(t):
		return []string{path}
	case t.Kind() == reflect.Pointer:
		return paths(path, t.Elem())
	case t.Kind() == reflect.Slice && isScalar(t.Elem()):
		return []string{path}
	case t.Kind() == reflect.Slice:
		return paths(path+"[]", t.Elem())
	case !isSection(t):
		return []string{path}
	}
	var all []string
	for _, f := range fields(t) {
		all = append(all, paths(join(path, f.name), t.FieldByIndex(f.index).Type)...)
	}
	return all
}

var (
	durationType      = reflect.TypeFor[time.Duration]()
	unmarshalerType   = reflect.TypeFor[yaml.Unmarshaler]()
	textUnmarshalType = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// decodesItself says whether a type reads its own YAML, and no mere text.
func decodesItself(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(unmarshalerType) && !isText(t)
}

// isText says whether a type is written as a text.
func isText(t reflect.Type) bool {
	return t.Kind() == reflect.String || reflect.PointerTo(t).Implements(textUnmarshalType)
}

// isSection says whether a type is a struct whose fields are settings.
func isSection(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && !isText(t) && !decodesItself(t)
}

// isScalar says whether a type is one text in a file.
func isScalar(t reflect.Type) bool {
	if decodesItself(t) {
		return false
	}
	k := t.Kind()
	return isText(t) || k == reflect.Bool || k == reflect.Float64 || isInt(k)
}

func isInt(k reflect.Kind) bool { return k == reflect.Int || k == reflect.Int64 }
